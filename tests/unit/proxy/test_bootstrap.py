"""The bootstrap says what the recommendations ask for; that Envoy accepts it is shown in tests/e2e."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.model.address import TcpAddress, UnixAddress
from authz.proxy.bootstrap import written
from authz.proxy.choices import EnvoyChoices, SidecarTls
from authz.proxy.cors import CorsRules

PLAIN = EnvoyChoices(
    listen=TcpAddress("0.0.0.0", 8080),
    upstream=TcpAddress("127.0.0.1", 3000),
    authz=(UnixAddress(Path("/run/authz.sock")),),
)


def _document(choices: EnvoyChoices) -> dict[str, Any]:
    document = yaml.safe_load(written(choices))
    assert isinstance(document, dict)
    return document


def _manager(choices: EnvoyChoices) -> dict[str, Any]:
    listener = _document(choices)["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert isinstance(manager, dict)
    return manager


def _filters(choices: EnvoyChoices) -> dict[str, Any]:
    return {each["name"]: each["typed_config"] for each in _manager(choices)["http_filters"]}


def _ext_authz(choices: EnvoyChoices) -> dict[str, Any]:
    config = _filters(choices)["envoy.filters.http.ext_authz"]
    assert isinstance(config, dict)
    return config


def _cluster(choices: EnvoyChoices, name: str) -> dict[str, Any]:
    clusters = _document(choices)["static_resources"]["clusters"]
    found = next(each for each in clusters if each["name"] == name)
    assert isinstance(found, dict)
    return found


def test_the_same_choices_give_the_same_text() -> None:
    assert written(PLAIN) == written(replace(PLAIN))


def test_an_outage_never_lets_a_request_through_and_says_so() -> None:
    config = _ext_authz(PLAIN)
    assert config["failure_mode_allow"] is False
    assert config["status_on_error"] == {"code": "ServiceUnavailable"}


def test_the_filter_asks_with_raw_headers_over_v3_within_a_stated_time() -> None:
    config = _ext_authz(replace(PLAIN, timeout_ms=150))
    assert (config["encode_raw_headers"], config["transport_api_version"]) == (True, "V3")
    assert config["grpc_service"].pop("retry_policy")
    assert config["grpc_service"] == {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "0.150s"}


def test_joined_headers_can_be_asked_for_by_tests_and_are_said_aloud() -> None:
    assert _ext_authz(replace(PLAIN, raw_headers=False))["encode_raw_headers"] is False


def test_no_answer_of_ours_may_route_or_frame_a_request() -> None:
    rules = _ext_authz(PLAIN)["decoder_header_mutation_rules"]
    assert (rules["allow_all_routing"], rules["allow_envoy"]) == (False, False)
    assert (rules["disallow_system"], rules["disallow_is_error"]) == (True, True)


def test_the_path_is_cleaned_before_it_is_judged_and_doubt_is_refused() -> None:
    manager = _manager(PLAIN)
    assert (manager["normalize_path"], manager["merge_slashes"]) == (True, True)
    assert manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"
    underscores = manager["common_http_protocol_options"]["headers_with_underscores_action"]
    assert underscores == "REJECT_REQUEST"


@pytest.mark.parametrize(
    ("edge", "hops", "written_hops"),
    [(False, 0, 0), (False, 1, 0), (False, 3, 2), (True, 0, 0), (True, 2, 2)],
)
def test_envoy_and_the_sidecar_read_the_same_entry_of_x_forwarded_for(
    edge: bool, hops: int, written_hops: int
) -> None:
    manager = _manager(replace(PLAIN, edge=edge, trusted_hops=hops))
    assert manager["use_remote_address"] is edge
    assert manager.get("xff_num_trusted_hops", 0) == written_hops


def test_our_filter_stands_before_the_router_and_after_cors_alone() -> None:
    assert list(_filters(PLAIN)) == ["envoy.filters.http.ext_authz", "envoy.filters.http.router"]
    with_cors = replace(PLAIN, cors=CorsRules(allow_origins=["https://a.example"]))
    assert list(_filters(with_cors))[:2] == ["envoy.filters.http.cors", "envoy.filters.http.ext_authz"]


def test_cors_rules_stand_at_the_virtual_host() -> None:
    rules = CorsRules(allow_origins=["https://a.example", "https://*.a.example"], allow_headers=["x-api-key"])
    host = _manager(replace(PLAIN, cors=rules))["route_config"]["virtual_hosts"][0]
    policy = host["typed_per_filter_config"]["envoy.filters.http.cors"]
    assert [list(each) for each in policy["allow_origin_string_match"]] == [["exact"], ["safe_regex"]]
    assert (policy["allow_headers"], policy["max_age"]) == ("x-api-key", "600")


def test_known_hosts_are_the_only_domains_whatever_their_port() -> None:
    routes = _manager(replace(PLAIN, hosts=("a.example",)))["route_config"]
    assert routes["virtual_hosts"][0]["domains"] == ["a.example"]
    assert routes["ignore_port_in_host_matching"] is True
    assert _manager(PLAIN)["route_config"]["virtual_hosts"][0]["domains"] == ["*"]


def test_a_check_is_asked_again_where_the_connection_broke_and_never_where_an_answer_came() -> None:
    policy = _ext_authz(PLAIN)["grpc_service"]["retry_policy"]
    assert set(policy["retry_on"].split(",")) == {
        "reset",
        "connect-failure",
        "refused-stream",
        "unavailable",
        "cancelled",
    }
    assert policy["num_retries"] == 3
    (predicate,) = policy["retry_host_predicate"]
    assert predicate["name"] == "envoy.retry_host_predicates.previous_hosts"
    assert int(policy["host_selection_retry_max_attempts"]) == 1
    # Envoy takes the longest pause between two tries for the longest that one try may take.
    assert policy["retry_back_off"]["max_interval"] == _ext_authz(PLAIN)["grpc_service"]["timeout"]


def test_every_socket_is_asked_before_a_check_is_given_up() -> None:
    sockets = tuple(UnixAddress(Path(f"/run/authz/authz-{index}.sock")) for index in range(9))
    policy = _ext_authz(replace(PLAIN, authz=sockets))["grpc_service"]["retry_policy"]
    assert policy["num_retries"] == 8
    assert int(policy["host_selection_retry_max_attempts"]) == 9


def test_a_body_goes_along_whole_and_as_bytes_or_not_at_all() -> None:
    assert "with_request_body" not in _ext_authz(PLAIN)
    body = _ext_authz(replace(PLAIN, body_bytes=1024))["with_request_body"]
    assert body == {"max_request_bytes": 1024, "pack_as_bytes": True}


def test_an_upgrade_is_passed_on_only_where_asked_for() -> None:
    assert "upgrade_configs" not in _manager(PLAIN)
    assert _manager(replace(PLAIN, upgrades=("websocket",)))["upgrade_configs"] == [
        {"upgrade_type": "websocket"}
    ]


def test_there_is_no_admin_listener_unless_asked_for() -> None:
    assert "admin" not in _document(PLAIN)
    assert "admin" in _document(replace(PLAIN, admin=TcpAddress("127.0.0.1", 9901)))


def test_every_worker_gets_its_turn_and_a_dead_one_loses_it_at_once() -> None:
    sockets = tuple(UnixAddress(Path(f"/run/authz-{n}.sock")) for n in range(3))
    cluster = _cluster(replace(PLAIN, authz=sockets), "authz")
    assert len(cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]) == 3
    assert cluster.get("lb_policy", "ROUND_ROBIN") == "ROUND_ROBIN"
    # By default Envoy would ask the second of two that leave together for a second longer.
    assert cluster["common_lb_config"]["update_merge_window"] == "0s"
    outliers = cluster["outlier_detection"]
    assert outliers["split_external_local_origin_errors"] is True
    assert (outliers["consecutive_local_origin_failure"], outliers["max_ejection_percent"]) == (1, 50)


def test_as_many_checks_may_be_open_as_the_sidecar_answers_in_time_and_the_application_is_not_bounded() -> (
    None
):
    one = _cluster(PLAIN, "authz")["circuit_breakers"]["thresholds"][0]
    three = replace(PLAIN, authz=tuple(UnixAddress(Path(f"/run/{n}.sock")) for n in range(3)))
    assert one["max_requests"] == one["max_pending_requests"] == one["max_retries"] == 1024
    assert _cluster(three, "authz")["circuit_breakers"]["thresholds"][0]["max_requests"] == 3 * 1024
    assert _cluster(PLAIN, "upstream")["circuit_breakers"]["thresholds"][0]["max_requests"] == 100_000


def test_a_name_is_looked_up_and_an_address_is_not() -> None:
    assert _cluster(replace(PLAIN, upstream=TcpAddress("app", 1)), "upstream")["type"] == "STRICT_DNS"
    assert _cluster(PLAIN, "upstream")["type"] == "STATIC"


def test_an_application_gets_http2_only_where_it_speaks_it() -> None:
    def protocol(choices: EnvoyChoices) -> list[str]:
        options = _cluster(choices, "upstream")["typed_extension_protocol_options"]
        return list(next(iter(options.values()))["explicit_http_config"])

    assert protocol(PLAIN) == ["http_protocol_options"]
    assert protocol(replace(PLAIN, upstream_http2=True)) == ["http2_protocol_options"]


def test_the_access_log_tells_the_latency_of_the_check_and_no_query() -> None:
    log = _manager(PLAIN)["access_log"][0]["typed_config"]["log_format"]["json_format"]
    assert log["authz_latency_us"] == "%FILTER_STATE(envoy.filters.http.ext_authz:FIELD:latency_us)%"
    assert log["path"] == "%PATH(NQ)%"
    assert _ext_authz(PLAIN)["emit_filter_state_stats"] is True


def test_the_heading_names_the_sidecar_that_belongs_to_it() -> None:
    choices = replace(PLAIN, edge=True, trusted_hops=1, hosts=("*.a.example", "a.example"))
    assert written(choices).splitlines()[1] == (
        "# The sidecar: authz serve --policies DIR --listen unix:/run/authz.sock"
        " --hosts '*.a.example' --hosts a.example --trusted-hops 1, with the setting `xff_appended: true`"
    )


def test_the_heading_suggests_no_listener_that_the_sidecar_refuses() -> None:
    far, near = TcpAddress("10.0.0.1", 9000), TcpAddress("127.0.0.1", 9191)
    told = "# Without TLS it does not listen at 10.0.0.1:9000: add --authz-ca, --authz-cert and --authz-key."
    alone = written(replace(PLAIN, authz=(far,), trusted_hops=1)).splitlines()
    assert alone[1:3] == ["# The sidecar: authz serve --policies DIR --trusted-hops 1", told]
    both = written(replace(PLAIN, authz=(far, near))).splitlines()
    assert both[1:3] == ["# The sidecar: authz serve --policies DIR --listen 127.0.0.1:9191", told]
    assert "does not listen" not in written(replace(PLAIN, authz=(near, TcpAddress("::1", 9191))))


# --- TLS to the sidecar

FAR = TcpAddress("authz.internal", 9443)
SECURED = replace(
    PLAIN, authz=(FAR,), authz_tls=SidecarTls(Path("/tls/ca.crt"), Path("/tls/e.crt"), Path("/tls/e.key"))
)


def _tls(choices: EnvoyChoices) -> Any:
    return _cluster(choices, "authz")["transport_socket"]["typed_config"]


def _names(choices: EnvoyChoices) -> list[tuple[str, str]]:
    found = _tls(choices)["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    return [(one["san_type"], one["matcher"]["exact"]) for one in found]


def test_without_a_ca_nothing_is_secured() -> None:
    assert "transport_socket" not in _cluster(PLAIN, "authz")


def test_both_ends_show_certificates_of_tls_1_3() -> None:
    common = _tls(SECURED)["common_tls_context"]
    assert common["validation_context"]["trusted_ca"] == {"filename": "/tls/ca.crt"}
    assert common["tls_certificates"] == [
        {"certificate_chain": {"filename": "/tls/e.crt"}, "private_key": {"filename": "/tls/e.key"}}
    ]
    assert common["alpn_protocols"] == ["h2"]
    assert common["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_3",
        "tls_maximum_protocol_version": "TLSv1_3",
    }


def test_the_certificate_must_name_whom_envoy_connects_to() -> None:
    """SECURITY: else any certificate of the CA would do, and every client of the mesh has one."""
    assert (_tls(SECURED)["sni"], _names(SECURED)) == ("authz.internal", [("DNS", "authz.internal")])
    by_address = replace(SECURED, authz=(TcpAddress("10.0.0.1", 1), TcpAddress("10.0.0.2", 1)))
    assert _names(by_address) == [("IP_ADDRESS", "10.0.0.1"), ("IP_ADDRESS", "10.0.0.2")]
    assert "sni" not in _tls(by_address)


def test_a_server_name_stands_for_all_addresses() -> None:
    def named(name: str) -> EnvoyChoices:
        assert SECURED.authz_tls is not None
        return replace(SECURED, authz_tls=replace(SECURED.authz_tls, name=name))

    assert _names(named("authz.test")) == [("DNS", "authz.test")]
    assert _tls(named("authz.test"))["sni"] == "authz.test"
    assert _names(named("spiffe://prod/authz")) == [("URI", "spiffe://prod/authz")]
    assert "sni" not in _tls(named("spiffe://prod/authz"))


def test_the_heading_names_the_flags_of_tls() -> None:
    assert written(SECURED).splitlines()[1] == (
        "# The sidecar: authz serve --policies DIR --listen 0.0.0.0:9443 --tls-cert FILE --tls-key FILE"
        " --tls-client-ca FILE --tls-clients SPIFFE-ID"
    )
    assert "does not listen" not in written(SECURED)
    assert "does not listen" in written(replace(SECURED, authz_tls=SidecarTls(Path("/tls/ca.crt"))))

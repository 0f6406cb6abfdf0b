"""Envoy's whole bootstrap: one listener, our filter, the application behind it."""

from __future__ import annotations

from shlex import quote

import yaml

from authz.model.address import Address, TcpAddress, UnixAddress
from authz.proxy import messages as m
from authz.proxy.choices import EnvoyChoices
from authz.proxy.cluster import UPSTREAM, address, authz_cluster, upstream_cluster
from authz.proxy.filters import AUTHZ_FILTER, CORS_FILTER, cors_policy, http_filters
from authz.proxy.stats import admin, admin_address, admin_cluster, stats_listener

_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_EXT_AUTHZ = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_STATE = f"%FILTER_STATE({AUTHZ_FILTER}:FIELD:"
_DYNAMIC = f"%DYNAMIC_METADATA({AUTHZ_FILTER}:"

ACCESS_LOG = {
    "authz_decision_id": f"{_DYNAMIC}decision_id)%",  # dynamic metadata: only where the operator turned it on
    "authz_latency_us": f"{_STATE}latency_us)%",  # what the check cost this request
    "authz_reason": f"{_DYNAMIC}reason)%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",  # as x-forwarded-for tells it to Envoy
    "duration_ms": "%DURATION%",
    "host": "%REQ(:AUTHORITY)%",
    "method": "%REQ(:METHOD)%",
    "peer": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",  # who really connected
    # SECURITY: without the query, which may hold a credential; and no header that a client fills with one.
    "path": "%PATH(NQ)%",
    "protocol": "%PROTOCOL%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "response_code": "%RESPONSE_CODE%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "response_flags": "%RESPONSE_FLAGS%",
    "start_time": "%START_TIME%",
}
"""One JSON line per request on Envoy's standard output: field -> Envoy's format operator."""


def bootstrap(choices: EnvoyChoices) -> m.Bootstrap:
    """Return the bootstrap that these choices ask for."""
    listeners = [_listener(choices)]
    clusters = [authz_cluster(choices), upstream_cluster(choices)]
    where = admin_address(choices)
    if choices.stats is not None and where is not None:
        listeners.append(stats_listener(choices.stats))
        clusters.append(admin_cluster(where))
    return m.Bootstrap(
        static_resources=m.BootstrapStaticResources(listeners=listeners, clusters=clusters),
        admin=admin(choices),
    )


def written(choices: EnvoyChoices) -> str:
    """Return the bootstrap as YAML: the same choices give the same text, byte for byte."""
    document = _spoken(bootstrap(choices).to_dict(casing=m.SNAKE_CASE))
    return _heading(choices) + yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=False)


def _heading(choices: EnvoyChoices) -> str:
    """Say which sidecar belongs to this Envoy: both have to serve the same hosts and count proxies alike."""
    hosts = "".join(f" --hosts {quote(host)}" for host in choices.hosts)
    hops = f" --trusted-hops {choices.trusted_hops}" if choices.trusted_hops else ""
    appended = ", with the setting `xff_appended: true`" if choices.edge and choices.trusted_hops else ""
    return (
        "# Envoy with authz beside it. Written by `authz envoy config`: change its flags, not this file.\n"
        f"# The sidecar: authz serve --policies DIR{_listen(choices)}{hosts}{hops}{appended}\n"
    ) + "".join(
        f"# Without TLS it does not listen at {far}: add --authz-ca, --authz-cert and --authz-key.\n"
        for far in choices.authz
        if not _can_listen(far) and (choices.authz_tls is None or choices.authz_tls.cert is None)
    )


def _listen(choices: EnvoyChoices) -> str:
    """Return the sidecar's flags about where it listens."""
    tls = choices.authz_tls
    where = next((where for where in choices.authz if _can_listen(where)), None)
    if tls is None:
        return f" --listen {where}" if where else ""
    address = where or f"0.0.0.0:{next(far.port for far in choices.authz if isinstance(far, TcpAddress))}"
    callers = " --tls-client-ca FILE --tls-clients SPIFFE-ID" if tls.cert else ""
    return f" --listen {address} --tls-cert FILE --tls-key FILE{callers}"


def _can_listen(where: Address) -> bool:
    """Whether `authz serve --listen` takes this address without callers' certificates."""
    return isinstance(where, UnixAddress) or where.is_loopback


def _listener(choices: EnvoyChoices) -> m.Listener:
    manager = m.Filter(name=_CONNECTION_MANAGER, typed_config=m.Packed.pack(connection_manager(choices)))
    return m.Listener(
        name="ingress",
        address=address(choices.listen),
        filter_chains=[m.FilterChain(filters=[manager])],
    )


def connection_manager(choices: EnvoyChoices) -> m.HttpConnectionManager:
    """Return how Envoy reads requests before our filter sees them."""
    return m.HttpConnectionManager(
        stat_prefix="ingress",
        route_config=_routes(choices),
        http_filters=http_filters(choices),
        # SECURITY: we judge the path that the application will get. Dots and slashes are cleaned before we
        # are asked; an escaped slash has two readings and is refused, since servers disagree about it.
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=(m.HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST),
        common_http_protocol_options=m.HttpProtocolOptions(
            # SECURITY: many servers read `x_auth_customer` as `x-auth-customer`, which only we may set.
            headers_with_underscores_action=(
                m.HttpProtocolOptionsHeadersWithUnderscoresAction.REJECT_REQUEST
            ),
        ),
        # SECURITY: at the edge the peer is the client, and what it says in x-forwarded-for is not believed.
        # Behind another proxy the peer is that proxy, whose x-forwarded-for is read from the right.
        use_remote_address=choices.edge,
        xff_num_trusted_hops=_hops(choices),
        # Nobody is "internal" by address: such callers could steer Envoy with x-envoy-* headers.
        internal_address_config=m.HttpConnectionManagerInternalAddressConfig(unix_sockets=False),
        # Without this Envoy answers 403 to a websocket by itself; rules still decide who may open one.
        upgrade_configs=[
            m.HttpConnectionManagerUpgradeConfig(upgrade_type=name) for name in choices.upgrades
        ],
        access_log=[_access_log()],
    )


def _hops(choices: EnvoyChoices) -> int:
    """Return the number that makes Envoy read the same entry of x-forwarded-for as the sidecar does.

    Not at the edge Envoy believes the rightmost entry even at 0 and counts from there; the sidecar's 1 is
    that entry, and its 0 is the peer. Source: Envoy's documentation of x-forwarded-for.
    """
    return choices.trusted_hops if choices.edge else max(0, choices.trusted_hops - 1)


def _routes(choices: EnvoyChoices) -> m.RouteConfiguration:
    host = m.VirtualHost(
        name="application",
        # Explicit where known: Envoy answers 404 to any other host, even should the sidecar allow it.
        domains=list(choices.hosts) or ["*"],
        routes=[m.Route(match=m.RouteMatch(prefix="/"), route=m.RouteAction(cluster=UPSTREAM))],
    )
    if choices.cors:
        host.typed_per_filter_config = {CORS_FILTER: m.Packed.pack(cors_policy(choices.cors))}
    return m.RouteConfiguration(
        name="routes",
        virtual_hosts=[host],
        # `items.example.com:8443` is the host `items.example.com`, as it is to the sidecar.
        ignore_port_in_host_matching=bool(choices.hosts),
    )


def _access_log() -> m.AccessLog:
    fields = {name: m.Value(string_value=text) for name, text in ACCESS_LOG.items()}
    log = m.StdoutAccessLog(
        log_format=m.SubstitutionFormatString(json_format=m.Struct(fields=fields), omit_empty_values=True)
    )
    return m.AccessLog(name="envoy.access_loggers.stdout", typed_config=m.Packed.pack(log))


def _spoken(node: object) -> object:
    """Mend what the library writes, and say aloud what it leaves out because it is a default.

    The library splits `5xx` into `5_xx`, which Envoy does not know. A reviewer of an ext_authz filter looks
    for `failure_mode_allow` first, so it stands there although false is what protobuf would read anyway.
    """
    if isinstance(node, list):
        return [_spoken(child) for child in node]
    if not isinstance(node, dict):
        return node
    fields = {name.replace("_5_xx", "_5xx"): _spoken(child) for name, child in node.items()}
    if fields.get("@type") == _EXT_AUTHZ:
        fields.setdefault("failure_mode_allow", False)
        fields.setdefault("encode_raw_headers", False)
    return fields

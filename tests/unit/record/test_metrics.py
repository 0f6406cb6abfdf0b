from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from authz.model.decision import Deny, RuleName
from authz.model.latency import Durations
from authz.model.reason import Detail, Reason
from authz.model.request import Unreadable
from authz.model.shadow import CRASHED, Shade, Would
from authz.record.catalogue import METRICS
from authz.record.cgroup import MemoryFacts
from authz.record.facts import (
    Facts,
    FleetFacts,
    GuardFacts,
    RecordFacts,
    SnapshotFacts,
    StoreFacts,
    TlsFacts,
)
from authz.record.metrics import Metrics
from authz.record.queue import RecordCounts
from authz.record.tally import Tally
from tests.support.answers import PROVEN, TIME_US, allowed, answered, refused, request, spent, unreadable
from tests.support.tracing import traced

FACTS = Facts(
    snapshot=lambda: SnapshotFacts("0123456789ab", "4f2a9c1", 1_767_225_600.5, 1_798_761_600.0, 2, 3),
    reloads=lambda: {"accepted": 3, "rejected": 1},
    records=lambda: [RecordFacts("stdout", RecordCounts(10, 2, 0, 5, 1))],
    buckets=lambda: {"memory": 7},
    stores=lambda: {"memory": True},
    fleet=lambda: FleetFacts("redis", 20, 2),
    guard=lambda: GuardFacts(12, 3),
    tls=lambda: TlsFacts({"server": 1_798_000_000.0}, {"accepted": 2, "rejected": 1}, 4),
    rate_limits=False,
    version="0.1.0",
)


def scrape(metrics: Metrics) -> dict[str, float]:
    """Return every series of ours, written as Prometheus writes it, by its name and labels."""
    page = metrics.render().decode()
    return {
        sample.name
        + (
            "{" + ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())) + "}"
            if sample.labels
            else ""
        ): (sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith("authz_")
    }


def test_a_scrape_shows_counts_of_every_thread() -> None:
    tallies = [Tally(), Tally()]
    tallies[0].add(allowed())
    tallies[1].add(allowed())
    deny = Deny(Reason.DENIED_BY_RULE, rule=RuleName("items", "block"))
    tallies[1].add(answered(deny, request(), PROVEN, 403))
    series = scrape(Metrics(tallies, Facts()))
    assert series["authz_checks_total{outcome=allow,reason=allowed}"] == 2
    assert series["authz_checks_total{outcome=deny,reason=denied_by_rule}"] == 1
    assert series["authz_rule_decisions_total{mode=enforce,outcome=allow,policy=items,rule=read}"] == 2
    assert series["authz_rule_decisions_total{mode=enforce,outcome=deny,policy=items,rule=block}"] == 1
    assert series["authz_limit_decisions_total{limit=per-key,mode=enforce,outcome=allow,store=memory}"] == 2
    assert series["authz_check_duration_seconds_count"] == 3
    assert series["authz_check_duration_seconds_sum"] == pytest.approx(75e-6)
    assert series["authz_check_duration_seconds_bucket{le=1e-05}"] == 0
    assert series["authz_check_duration_seconds_bucket{le=2.5e-05}"] == 3
    assert series["authz_check_duration_seconds_bucket{le=+Inf}"] == 3


def test_near_limits_are_counted_by_limit_over_every_thread() -> None:
    tallies = [Tally(near=0.5), Tally(near=0.5)]
    for tally in tallies:
        tally.add(allowed())
    series = scrape(Metrics(tallies, Facts()))
    assert series["authz_limit_near_total{limit=per-key}"] == 2
    assert series["authz_limit_near_total{limit=per-customer}"] == 2


def store_facts() -> StoreFacts:
    trips = Durations()
    for took_us in (90, 400, 30_000_000):
        trips.add(took_us)
    return StoreFacts(
        "redis",
        trips,
        calls={"answered": 2, "timeout": 1},
        checks={"asked": 7, "remembered": 5, "alone": 3},
        coalesced=2,
        waiting=1,
        links={"up": 2, "down": 1},
        connects=4,
        evicts=True,
    )


def of_stores(facts: Facts) -> dict[str, float]:
    return {name: value for name, value in scrape(Metrics([], facts)).items() if "_store_" in name}


def test_a_scrape_shows_how_a_shared_store_is_asked() -> None:
    series = of_stores(Facts(store=store_facts))
    buckets = {name: series.pop(name) for name in list(series) if "_bucket{" in name}
    assert series == {
        "authz_store_calls_total{result=answered,store=redis}": 2,
        "authz_store_calls_total{result=timeout,store=redis}": 1,
        "authz_store_checks_total{decided=asked,store=redis}": 7,
        "authz_store_checks_total{decided=remembered,store=redis}": 5,
        "authz_store_checks_total{decided=alone,store=redis}": 3,
        "authz_store_coalesced_total{store=redis}": 2,
        "authz_store_waiting{store=redis}": 1,
        "authz_store_links{state=up,store=redis}": 2,
        "authz_store_links{state=down,store=redis}": 1,
        "authz_store_connects_total{store=redis}": 4,
        "authz_store_evicts{store=redis}": 1,
        "authz_store_round_trip_seconds_count": 3,
        "authz_store_round_trip_seconds_sum": pytest.approx(30.00049),
    }
    assert buckets["authz_store_round_trip_seconds_bucket{le=5e-05}"] == 0
    assert buckets["authz_store_round_trip_seconds_bucket{le=0.0001}"] == 1
    assert buckets["authz_store_round_trip_seconds_bucket{le=1.0}"] == 2
    assert buckets["authz_store_round_trip_seconds_bucket{le=+Inf}"] == 3


def test_what_nobody_knows_of_a_store_has_no_series() -> None:
    unknown = of_stores(Facts(store=lambda: store_facts()._replace(evicts=None)))
    assert unknown
    assert not any(name.startswith("authz_store_evicts") for name in unknown)


def test_without_a_shared_store_none_is_spoken_of() -> None:
    assert of_stores(Facts()) == {}


def test_a_scrape_shows_what_it_fetches() -> None:
    series = scrape(Metrics([], FACTS))
    assert series["authz_snapshot_revision_info{revision=0123456789ab,source_revision=4f2a9c1}"] == 1
    assert series["authz_snapshot_loaded_timestamp_seconds"] == 1_767_225_600.5
    assert series["authz_key_next_expiry_timestamp_seconds"] == 1_798_761_600
    assert series["authz_keys_disabled"] == 2
    assert series["authz_snapshot_overrides"] == 3
    assert series["authz_reloads_total{result=accepted}"] == 3
    assert series["authz_reloads_total{result=rejected}"] == 1
    assert series["authz_records_total{result=written,sink=stdout}"] == 10
    assert series["authz_records_total{result=dropped,sink=stdout}"] == 2
    assert series["authz_records_waiting{sink=stdout}"] == 5
    assert series["authz_record_errors_total{sink=stdout}"] == 1
    assert series["authz_buckets{store=memory}"] == 7
    assert series["authz_store_up{store=memory}"] == 1
    assert series["authz_guard_networks"] == 12
    assert series["authz_guard_forgotten_total"] == 3
    assert series["authz_fleet_members"] == 20
    assert series["authz_store_outages_total{store=redis}"] == 2
    assert series["authz_certificate_expiry_timestamp_seconds{certificate=server}"] == 1_798_000_000
    assert series["authz_certificate_reloads_total{result=rejected}"] == 1
    assert series["authz_strangers_total"] == 4
    assert series["authz_rate_limits_enabled"] == 0
    assert any(name.startswith("authz_build_info{python=") for name in series)


def test_series_appear_on_first_use() -> None:
    tally = Tally()
    metrics = Metrics([tally], Facts())
    assert not any(
        name.startswith(("authz_rule", "authz_limit", "authz_records", "authz_snapshot"))
        for name in scrape(metrics)
    )
    tally.add(refused())
    assert scrape(metrics)["authz_checks_total{outcome=deny,reason=credential_missing}"] == 1


def test_counters_that_alerts_ask_begin_at_0_since_one_that_appears_has_not_increased() -> None:
    facts = Facts(
        records=lambda: [RecordFacts("http", RecordCounts(0, 0, 0, 0, 0))],
        tls=lambda: TlsFacts({"server": 1.0}),
    )
    series = scrape(Metrics([], facts))
    assert {name: value for name, value in series.items() if name.startswith("authz_checks_total")} == {
        f"authz_checks_total{{outcome=deny,reason={reason}}}": 0
        for reason in ("internal_error", "not_ready", "overloaded", "store_unavailable")
    }
    for name in (
        "authz_shadow_crashes_total",
        "authz_records_total{result=dropped,sink=http}",
        "authz_records_total{result=lost,sink=http}",
        "authz_record_errors_total{sink=http}",
        "authz_certificate_reloads_total{result=rejected}",
        "authz_strangers_total",
        "authz_reloads_total{result=rejected}",
    ):
        assert series[name] == 0


def test_a_scrape_shows_how_well_the_process_is() -> None:
    facts = Facts(ready=lambda: False, waiting=lambda: 3, memory=lambda: MemoryFacts(100, 40))
    series = scrape(Metrics([], facts))
    assert series["authz_ready"] == 0
    assert series["authz_checks_waiting"] == 3
    assert series["authz_memory_limit_bytes"] == 100
    assert series["authz_memory_working_set_bytes"] == 40


def test_what_has_no_bound_has_no_series() -> None:
    assert not [name for name in scrape(Metrics([], Facts(ready=lambda: True))) if "memory_limit" in name]


def test_a_scrape_shows_what_a_set_is_made_of_and_how_long_records_wait() -> None:
    series = scrape(
        Metrics(
            [],
            Facts(
                snapshot=lambda: SnapshotFacts(
                    "0123456789ab", "", 1.0, documents={"Policy": 7}, keys_expiring={"24h": 2}
                ),
                records=lambda: [RecordFacts("spool", RecordCounts(1, 0, 0, 5, 0), 100, 2.5)],
            ),
        )
    )
    assert series["authz_snapshot_documents{kind=Policy}"] == 7
    assert series["authz_keys_expiring{within=24h}"] == 2
    assert series["authz_records_waiting_limit{sink=spool}"] == 100
    assert series["authz_records_waiting_seconds{sink=spool}"] == 2.5


def test_nothing_of_a_request_becomes_a_label() -> None:
    tally = Tally()
    canary = "c4n4ry"
    tally.add(unreadable(Unreadable(Detail.PATH_INVALID, canary, canary, canary, canary, canary)))
    tally.add(allowed(request(path="/" + canary)._replace(host=canary, sent_method=canary)))
    assert canary not in Metrics([tally], Facts()).render().decode()


def test_a_judging_thread_may_join_while_we_serve() -> None:
    tallies: list[Tally] = []
    metrics = Metrics(tallies, Facts())
    late = Tally()
    late.add(allowed())
    tallies.append(late)
    assert scrape(metrics)["authz_checks_total{outcome=allow,reason=allowed}"] == 1


def test_the_process_itself_is_shown() -> None:
    assert b"process_resident_memory_bytes" in Metrics([], Facts()).render()


def test_every_metric_says_what_it_means() -> None:
    assert all(shape.help.endswith(".") for shape in METRICS.values())
    assert all(name.endswith("_total") == (shape.kind == "counter") for name, shape in METRICS.items())


def test_what_is_in_shadow_has_series_of_its_own() -> None:
    tally = Tally()
    limit = Shade(Would.DENY, limit="tried", changes=True, spent=spent("tried", passed=False))
    tally.add(allowed()._replace(shadow=(Shade(Would.ALLOW, "next", "read"), limit, *CRASHED)))
    series = scrape(Metrics([tally], Facts()))
    assert series["authz_rule_decisions_total{mode=shadow,outcome=allow,policy=next,rule=read}"] == 1
    assert series["authz_limit_decisions_total{limit=tried,mode=shadow,outcome=deny,store=memory}"] == 1
    assert series["authz_shadow_changes_total{kind=limit,name=tried,outcome=deny}"] == 1
    assert series["authz_shadow_crashes_total"] == 1
    assert series["authz_rule_decisions_total{mode=enforce,outcome=allow,policy=items,rule=read}"] == 1


def test_openmetrics_shows_the_trace_of_a_check_with_its_bucket() -> None:
    tally = Tally()
    for duration_us, trace_id in ((25, "1" * 32), (26, "2" * 32), (2_000_000, "3" * 32)):
        tally.add(traced(duration_us, trace_id))
    page = Metrics([tally], FACTS).render(openmetrics=True).decode()
    parsed = openmetrics_families(page)  # type: ignore[no-untyped-call] # this part of it has no types
    families = {family.name: family for family in parsed}
    buckets = families["authz_check_duration_seconds"].samples
    shown = {
        sample.labels["le"]: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for sample in buckets
        if sample.exemplar
    }
    assert shown == {
        "2.5e-05": ("1" * 32, 25e-6),
        "5e-05": ("2" * 32, 26e-6),
        "+Inf": ("3" * 32, 2.0),
    }
    assert all(float(one.exemplar.timestamp) == TIME_US / 1e6 for one in buckets if one.exemplar)


def test_openmetrics_has_every_series_of_the_plain_page_and_that_has_no_exemplars() -> None:
    tally = Tally()
    tally.add(traced(25))
    tally.traces["traced"] += 1
    metrics = Metrics([tally], FACTS)
    plain, rich = metrics.render().decode(), metrics.render(openmetrics=True).decode()
    assert "trace_id" not in plain
    ours = [line for line in plain.splitlines() if line.startswith("authz_")]
    theirs = [line.partition(" # ")[0] for line in rich.splitlines() if line.startswith("authz_")]
    assert ours == theirs
    assert scrape(metrics)["authz_traces_total{result=traced}"] == 1
    assert rich.endswith("\n# EOF\n")


def test_a_check_that_is_not_traced_is_nobodys_example() -> None:
    tally = Tally()
    tally.add(allowed())
    assert b"trace_id" not in Metrics([tally], Facts()).render(openmetrics=True)


def test_what_is_left_out_as_the_operator_wants_is_counted() -> None:
    tally = Tally()
    tally.sampled_out = 3
    samples = Metrics(
        [tally], Facts(shipped=lambda: {"authz_records_total": [(("file", "written"), 2.0)]})
    ).samples()
    assert set(samples["authz_records_total"]) == {(("none", "sampled_out"), 3), (("file", "written"), 2.0)}

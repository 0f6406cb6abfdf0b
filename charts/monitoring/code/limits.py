"""Limits: who is held back, what is near, and how the store of buckets is."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import PER_S, SECONDS, SHARE, number, series
from charts.monitoring.code.query import Query, most, of, quantile, rate, share, top, total

_LIMITS = "authz_limit_decisions_total"


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-limits",
        "authz / Limits",
        "Which limits refuse, which are near, and whether the store of buckets answers.",
        [("Now", _now()), ("Limits", _limits()), ("The store of buckets", _store()), ("The guard", _guard())],
    )


def _now() -> list[Builder[Panel]]:
    whole = total(rate("authz_checks_total"))
    return [
        number(
            "Refused by limits",
            "Share of checks that a limit refused with 429.",
            Query(share(total(rate("authz_checks_total", 'reason="rate_limited"')), whole)),
            unit=SHARE,
            runbook="AuthzRefusalSpike",
        ),
        number(
            "Decided without the store",
            "Share of checks with shared buckets that were decided without the store, as onStoreError says.",
            Query(
                share(
                    total(rate("authz_store_checks_total", 'decided="alone"')),
                    total(rate("authz_store_checks_total")),
                )
            ),
            unit=SHARE,
            steps=(0.01, 0.5),
            runbook="AuthzStoreDown",
        ),
        number(
            "Store answers",
            "The worst of the chosen sidecars: 0 where one of them has no answer.",
            Query(f"min({of('authz_store_up')})"),
            steps=(1,),
            low_is_bad=True,
            runbook="AuthzStoreDown",
        ),
        number(
            "Processes that share",
            "Processes that share the buckets in Redis, as last counted. In an outage each gives out its"
            " part.",
            Query(most(of("authz_fleet_members"))),
        ),
        number(
            "Limits are on",
            "0 where RATE_LIMIT_ENABLED switches every limit off on one of the chosen sidecars.",
            Query(f"min({of('authz_rate_limits_enabled')})"),
            steps=(1,),
            low_is_bad=True,
            runbook="AuthzRateLimitsOff",
        ),
        number(
            "Buckets",
            "Buckets that are not full. In memory there is a bound: max_buckets.",
            Query(total(of("authz_buckets"))),
        ),
    ]


def _limits() -> list[Builder[Panel]]:
    return [
        series(
            "Limits that refuse",
            "Checks that each limit refused per second. Metrics know no customers: `authz limits top` does,"
            " and the dashboard of keys and customers out of records.",
            Query(top(10, total(rate(_LIMITS, 'mode="enforce"', 'outcome="deny"'), "limit")), "{{limit}}"),
            unit=PER_S,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "Limits that are near",
            "Checks that passed and left less than near_limit_percent of the burst: who is refused next.",
            Query(top(10, total(rate("authz_limit_near_total"), "limit")), "{{limit}}"),
            unit=PER_S,
        ),
        series(
            "Decisions by store",
            "Where buckets were asked: in Redis, in memory, in an outage's own, or nowhere.",
            Query(total(rate(_LIMITS, 'mode="enforce"'), "store"), "{{store}}"),
            unit=PER_S,
            stacked=True,
        ),
        series(
            "Limits in shadow",
            "What limits in shadow would have done.",
            Query(top(10, total(rate(_LIMITS, 'mode="shadow"'), "limit, outcome")), "{{limit}}: {{outcome}}"),
            unit=PER_S,
        ),
    ]


def _store() -> list[Builder[Panel]]:
    return [
        series(
            "Calls by result",
            "Calls of the script that spends: answered, or why not. docs/redis.md says what each word means.",
            Query(total(rate("authz_store_calls_total"), "result"), "{{result}}"),
            unit=PER_S,
            stacked=True,
            runbook="AuthzStoreDown",
        ),
        series(
            "Round trips",
            "From sending a batch until its last answer.",
            Query(quantile(0.5, "authz_store_round_trip_seconds"), "50 %"),
            Query(quantile(0.99, "authz_store_round_trip_seconds"), "99 %"),
            unit=SECONDS,
            runbook="AuthzChecksSlow",
        ),
        series(
            "Connections",
            "Connections to the store that are up, or down and being opened.",
            Query(total(of("authz_store_links"), "state"), "{{state}}"),
            runbook="AuthzStoreDown",
        ),
        series(
            "How checks with shared buckets were decided",
            "Asked of the store; remembered as refused without asking; alone, as onStoreError says.",
            Query(total(rate("authz_store_checks_total"), "decided"), "{{decided}}"),
            Query(total(rate("authz_store_coalesced_total")), "asked along with another"),
            unit=PER_S,
        ),
        series(
            "Waiting for the store",
            "Groups of checks that wait for the next round trip.",
            Query(top(10, total(of("authz_store_waiting"), "instance")), "{{instance}}"),
            runbook="AuthzChecksSlow",
        ),
        series(
            "Outages and new connections",
            "How often the store stopped answering, and connections were opened, per second.",
            Query(total(rate("authz_store_outages_total"), "store"), "outages of {{store}}"),
            Query(total(rate("authz_store_connects_total"), "store"), "connections to {{store}}"),
            runbook="AuthzStoreUnstable",
        ),
    ]


def _guard() -> list[Builder[Panel]]:
    return [
        series(
            "Turned away by the guard",
            "Checks of client networks that sent too much rubbish, refused without a look at credentials.",
            Query(total(rate("authz_checks_total", 'reason="guarded"')), "guarded"),
            unit=PER_S,
            width=12,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "Networks that it remembers",
            "Client networks whose faults are remembered, and how many were forgotten early, for want of"
            " memory.",
            Query(total(of("authz_guard_networks")), "remembered"),
            Query(total(rate("authz_guard_forgotten_total")), "forgotten per second"),
            width=12,
        ),
    ]

"""The first look: is it up, does it answer, what does it refuse, what may go wrong next."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import COUNT, PER_S, SECONDS, SHARE, number, series
from charts.monitoring.code.query import FAILED, Query, most, of, quantile, rate, share, total

_CHECKS = total(rate("authz_checks_total"))
_FAILED = total(rate("authz_checks_total", f'reason=~"{FAILED}"'))


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-overview",
        "authz / Overview",
        "One look at all sidecars: traffic, refusals, latency, and whatever needs somebody.",
        [("Now", _now()), ("Checks", _checks()), ("What may go wrong next", _next())],
    )


def _now() -> list[Builder[Panel]]:
    return [
        number(
            "Checks",
            "Checks answered per second, allowed or refused, by all chosen sidecars.",
            Query(_CHECKS),
            unit=PER_S,
        ),
        number(
            "Answered well",
            "Share of checks that were decided: allowed, or refused for what the request is. The rest was"
            " refused with 503 for a fault of ours. The objective is 99.9 % over 30 days.",
            Query(f"1 - {share(_FAILED, _CHECKS)}"),
            unit=SHARE,
            steps=(0.99, 0.999),
            low_is_bad=True,
            decimals=3,
            runbook="AuthzErrorBudgetBurnFast",
        ),
        number(
            "Refused",
            "Share of checks that were refused, whatever the reason. A step up after a change of policies is"
            " the change's doing.",
            Query(share(total(rate("authz_checks_total", 'outcome="deny"')), _CHECKS)),
            unit=SHARE,
            runbook="AuthzRefusalSpike",
        ),
        number(
            "p99",
            "99 of 100 checks take at most so long inside the sidecar. Envoy waits 200 ms by default.",
            Query(quantile(0.99, "authz_check_duration_seconds")),
            unit=SECONDS,
            steps=(0.01, 0.05),
            runbook="AuthzChecksSlow",
        ),
        number(
            "Sidecars",
            "Sidecars that answer scrapes.",
            Query(f"count({of('authz_build_info')})"),
            runbook="AuthzSidecarDown",
        ),
        number(
            "Policy sets",
            "Different revisions in force. More than one for longer than a rollout takes: somebody serves an"
            " old set.",
            Query(f"count(count by (revision) ({of('authz_snapshot_revision_info')}))"),
            steps=(2,),
            runbook="AuthzRevisionSkew",
        ),
    ]


def _checks() -> list[Builder[Panel]]:
    return [
        series(
            "Checks by outcome",
            "Allowed and refused checks per second. No traffic at all where there should be some: look at"
            " Envoy first.",
            Query(total(rate("authz_checks_total"), "outcome"), "{{outcome}}"),
            unit=PER_S,
            stacked=True,
        ),
        series(
            "Refusals by reason",
            "Why checks were refused; docs/reasons.md has each. The 503s among them are ours to mend.",
            Query(total(rate("authz_checks_total", 'outcome="deny"'), "reason"), "{{reason}}"),
            unit=PER_S,
            stacked=True,
            runbook="AuthzRefusalSpike",
        ),
        series(
            "How long a check takes",
            "From taking a call to handing over its reply. Points are single traced checks.",
            Query(quantile(0.5, "authz_check_duration_seconds"), "half"),
            Query(quantile(0.99, "authz_check_duration_seconds"), "99 %", exemplars=True),
            unit=SECONDS,
            steps=(0.05,),
            runbook="AuthzChecksSlow",
        ),
    ]


def _next() -> list[Builder[Panel]]:
    return [
        series(
            "Policy set not in force",
            "For how long what stands in the directories has not been what is served. Above 0: a change was"
            " rejected; /ready says which line.",
            Query(most(of("authz_snapshot_age_seconds"), "instance"), "{{instance}}"),
            unit=SECONDS,
            steps=(300,),
            runbook="AuthzPolicyNotInForce",
        ),
        series(
            "Stores of buckets",
            "1 while the store of limits answers. At 0 each limit does what its onStoreError says.",
            Query(f"min by (instance, store) ({of('authz_store_up')})", "{{store}} {{instance}}"),
            runbook="AuthzStoreDown",
        ),
        series(
            "Records waiting",
            "Records that are decided and not yet written. Where it only grows, a sink is too slow or away.",
            Query(total(of("authz_records_waiting"), "sink"), "{{sink}}"),
            unit=COUNT,
            runbook="AuthzRecordsMissing",
        ),
    ]

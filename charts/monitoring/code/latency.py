"""How long checks take, where the time goes, and what ends with 503."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import COUNT, PER_S, SECONDS, SHARE, number, series
from charts.monitoring.code.query import FAILED, Query, increase, most, of, quantile, rate, share, top, total

_CHECKS = total(rate("authz_checks_total"))
_BY_FAULT = f'reason=~"{FAILED}"'
_FAILED = rate("authz_checks_total", _BY_FAULT)
_DURATION = "authz_check_duration_seconds"


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-latency",
        "authz / Latency and errors",
        "How long checks take, what they wait for, and which ones fail for a fault of ours.",
        [("Objectives", _objectives()), ("Latency", _latency()), ("Errors", _errors())],
    )


def _objectives() -> list[Builder[Panel]]:
    fast = total(rate(f"{_DURATION}_bucket", 'le="0.01"'))
    slow = f"1 - {fast} / {total(rate(f'{_DURATION}_count'))}"
    failed = total(increase("authz_checks_total", _BY_FAULT))
    spent = f"(({failed} or vector(0)) / {total(increase('authz_checks_total'))}) / 0.001"
    return [
        number(
            "Budget spent",
            "Of the checks in the time that is shown, 0.1 % may fail: so much of that is spent. Choose 30"
            " days"
            " for the objective itself.",
            Query(spent),
            unit=SHARE,
            width=6,
            steps=(0.5, 1),
            runbook="AuthzErrorBudgetBurnSlow",
        ),
        number(
            "Failing now",
            "Share of checks that are refused with 503 for a fault of ours.",
            Query(share(total(_FAILED), _CHECKS)),
            unit=SHARE,
            width=6,
            steps=(0.001, 0.0144),
            decimals=3,
            runbook="AuthzErrorBudgetBurnFast",
        ),
        number(
            "Slower than 10 ms",
            "Share of checks that take more than 10 ms; the objective is 1 %.",
            Query(slow),
            unit=SHARE,
            width=6,
            steps=(0.01, 0.144),
            decimals=2,
            runbook="AuthzLatencyBudgetBurn",
        ),
        number(
            "Waiting now",
            "Checks that are here and not answered yet, on all chosen sidecars.",
            Query(total(of("authz_checks_waiting"))),
            unit=COUNT,
            width=6,
            steps=(500, 2000),
            runbook="AuthzOverloaded",
        ),
    ]


def _latency() -> list[Builder[Panel]]:
    return [
        series(
            "How long checks take",
            "Half, 95, 99 and 99.9 of 100 checks take at most so long, from taking the call to handing over"
            " its reply. Points are single traced checks: follow one to its trace.",
            *(
                Query(quantile(part, _DURATION), name, exemplars=part == 0.99)
                for part, name in ((0.5, "50 %"), (0.95, "95 %"), (0.99, "99 %"), (0.999, "99.9 %"))
            ),
            unit=SECONDS,
            width=12,
            steps=(0.05,),
            runbook="AuthzChecksSlow",
        ),
        series(
            "p99 by sidecar",
            "The ten slowest sidecars. One alone: its node is busy, or its Envoy sends it too much.",
            Query(top(10, quantile(0.99, _DURATION, "instance")), "{{instance}}"),
            unit=SECONDS,
            width=12,
            steps=(0.05,),
            runbook="AuthzChecksSlow",
        ),
        series(
            "Round trips to the store",
            "From sending a batch of calls to Redis until the last was answered or given up. Checks with"
            " limits there wait for one of these, the others for none.",
            Query(quantile(0.5, "authz_store_round_trip_seconds"), "50 %"),
            Query(quantile(0.99, "authz_store_round_trip_seconds"), "99 %"),
            unit=SECONDS,
            width=12,
            runbook="AuthzStoreDown",
        ),
        series(
            "Waiting checks by sidecar",
            "Checks that are here and not answered yet. They are refused once they would wait longer than"
            " max_wait_ms.",
            Query(top(10, most(of("authz_checks_waiting"), "instance")), "{{instance}}"),
            width=12,
            runbook="AuthzOverloaded",
        ),
    ]


def _errors() -> list[Builder[Panel]]:
    return [
        series(
            "Failed checks by reason",
            "Checks that were refused with 503: overloaded (too much to do), store_unavailable (Redis is"
            " away), not_ready (no policy set), internal_error (a bug of ours).",
            Query(total(_FAILED, "reason"), "{{reason}}"),
            unit=PER_S,
            stacked=True,
            runbook="AuthzErrorBudgetBurnFast",
        ),
        series(
            "Failed checks by sidecar",
            "The ten sidecars that refuse most with 503. All of them: look at what they share.",
            Query(top(10, total(_FAILED, "instance")), "{{instance}}"),
            unit=PER_S,
            runbook="AuthzErrorBudgetBurnFast",
        ),
        series(
            "Refused by Envoy itself",
            "Requests that Envoy refused since its sidecar did not answer, or too late. Needs a scrape of"
            " Envoy's"
            " --admin address.",
            Query(total(rate("envoy_http_ext_authz_error"), "instance"), "{{instance}}"),
            unit=PER_S,
            runbook="AuthzEnvoyCannotAsk",
        ),
    ]

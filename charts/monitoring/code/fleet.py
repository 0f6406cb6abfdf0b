"""Every sidecar and its workers: up, ready, which policy set, memory, processor."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import BYTES, PER_S, SECONDS, SHARE, number, series
from charts.monitoring.code.query import Query, most, of, rate, top, total

_HERE = f"on (namespace, job, instance) {of('authz_build_info')}"


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-fleet",
        "authz / Sidecar fleet",
        "Each sidecar and worker: whether it is up and ready, what it serves, what it takes.",
        [("Fleet", _fleet()), ("Sidecars", _sidecars()), ("Workers", _workers()), ("TLS", _tls())],
    )


def _fleet() -> list[Builder[Panel]]:
    return [
        number("Sidecars", "Sidecars that answer scrapes.", Query(f"count({of('authz_build_info')})")),
        number(
            "Not ready",
            "Sidecars whose /ready says 503.",
            Query(f"count({of('authz_ready')} == 0) or vector(0)"),
            steps=(1,),
            runbook="AuthzNotReady",
        ),
        number(
            "Policy sets",
            "Different revisions in force over the fleet.",
            Query(f"count(count by (revision) ({of('authz_snapshot_revision_info')}))"),
            steps=(2,),
            runbook="AuthzRevisionSkew",
        ),
        number(
            "Versions",
            "Different versions of authz that run. More than one for longer than a rollout takes: somebody"
            " was"
            " left behind.",
            Query(f"count(count by (version) ({of('authz_build_info')}))"),
            steps=(2,),
            runbook="AuthzRevisionSkew",
        ),
        number(
            "Youngest is up for",
            "How long ago the last sidecar was started.",
            Query(f"min(time() - {of('process_start_time_seconds')} and {_HERE})"),
            unit=SECONDS,
            runbook="AuthzSidecarRestarting",
        ),
        number(
            "Started from what was kept",
            "Parts of policy sets that are in force as an earlier life kept them, since what stands in the"
            " directories is not good.",
            Query(total(of("authz_snapshot_from_state"))),
            steps=(1,),
            runbook="AuthzPolicyNotInForce",
        ),
    ]


def _sidecars() -> list[Builder[Panel]]:
    return [
        series(
            "Sidecars by policy set",
            "How many sidecars serve each revision. Two lines that stay: some do not follow.",
            Query(f"count by (revision) ({of('authz_snapshot_revision_info')})", "{{revision}}"),
            runbook="AuthzRevisionSkew",
        ),
        series(
            "Checks by sidecar",
            "The ten busiest sidecars. One that gets far more than the others: look at how clients are"
            " balanced.",
            Query(top(10, total(rate("authz_checks_total"), "instance")), "{{instance}}"),
            unit=PER_S,
        ),
        series(
            "Ready",
            "1 where /ready says that checks can be answered.",
            Query(f"min by (instance) ({of('authz_ready')})", "{{instance}}"),
            runbook="AuthzNotReady",
        ),
        series(
            "Memory of its limit",
            "What the kernel counts against the limit: every process of the container, and records that wait"
            " in memory.",
            Query(
                top(10, f"{of('authz_memory_working_set_bytes')} / {of('authz_memory_limit_bytes')}"),
                "{{instance}}",
            ),
            unit=SHARE,
            steps=(0.8, 0.9),
            runbook="AuthzMemoryNearLimit",
        ),
        series(
            "Resident memory",
            "Of the process that serves; with workers, of their supervisor.",
            Query(top(10, f"{of('process_resident_memory_bytes')} and {_HERE}"), "{{instance}}"),
            unit=BYTES,
            runbook="AuthzMemoryNearLimit",
        ),
        series(
            "Processor",
            "Cores that the process takes; one judging thread fills one. With workers see below.",
            Query(top(10, f"{rate('process_cpu_seconds_total')} and {_HERE}"), "{{instance}}"),
            unit="none",
            runbook="AuthzOverloaded",
        ),
        series(
            "Open files",
            "Share of the open files that the process may have.",
            Query(top(10, f"{of('process_open_fds')} / {of('process_max_fds')} and {_HERE}"), "{{instance}}"),
            unit=SHARE,
            steps=(0.8,),
        ),
        series(
            "Restarts",
            "How often each sidecar was started anew in the time that is shown.",
            Query(
                top(10, f"changes({of('process_start_time_seconds')}[$__range]) and {_HERE}"), "{{instance}}"
            ),
            runbook="AuthzSidecarRestarting",
        ),
        series(
            "Told of changed files",
            "1 where the system tells of changed files; 0: they are found every poll_s alone.",
            Query(f"min by (instance) ({of('authz_watch_told')})", "{{instance}}"),
        ),
    ]


def _workers() -> list[Builder[Panel]]:
    name = "{{instance}} {{worker}}"
    return [
        series(
            "Workers up",
            "Workers that answer checks, of each sidecar that has several.",
            Query(total(of("authz_worker_up"), "instance"), "{{instance}}"),
            runbook="AuthzWorkerDown",
        ),
        series(
            "Worker restarts",
            "Workers started anew per second, because they died or were stuck.",
            Query(total(rate("authz_worker_restarts_total"), "instance, cause"), "{{instance}} {{cause}}"),
            runbook="AuthzSidecarRestarting",
        ),
        series(
            "Worker memory",
            "Memory that each worker holds.",
            Query(top(10, most(of("authz_worker_resident_bytes"), "instance, worker")), name),
            unit=BYTES,
            runbook="AuthzMemoryNearLimit",
        ),
        series(
            "Worker processor",
            "Cores that each worker takes. Near 1: it is as busy as it can be.",
            Query(top(10, total(rate("authz_worker_cpu_seconds_total"), "instance, worker")), name),
            unit="none",
            steps=(0.8, 0.95),
            runbook="AuthzOverloaded",
        ),
        series(
            "Workers by policy set",
            "How many workers serve each revision.",
            Query(f"count by (revision) ({of('authz_worker_revision_info')})", "{{revision}}"),
            runbook="AuthzRevisionSkew",
        ),
        series(
            "Waiting to be started",
            "How long a worker that keeps dying young waits for its next start.",
            Query(top(10, most(of("authz_worker_backoff_seconds"), "instance, worker")), name),
            unit=SECONDS,
            runbook="AuthzWorkerDown",
        ),
    ]


def _tls() -> list[Builder[Panel]]:
    return [
        series(
            "Certificates expire in",
            "Time until each certificate expires: ours, and the last of the callers' CAs.",
            Query(
                f"min by (certificate) ({of('authz_certificate_expiry_timestamp_seconds')}) - time()",
                "{{certificate}}",
            ),
            unit=SECONDS,
            runbook="AuthzCertificateExpiring",
        ),
        series(
            "Certificates that changed",
            "Certificate files that changed in the time that is shown: accepted, or rejected and the last"
            " good"
            " kept.",
            Query(
                total(f"increase({of('authz_certificate_reloads_total')}[$__range])", "result"), "{{result}}"
            ),
            runbook="AuthzCertificateRejected",
        ),
        series(
            "Strangers",
            "Calls turned away per second: the caller's certificate is not in tls_clients, or expired.",
            Query(total(rate("authz_strangers_total"), "instance"), "{{instance}}"),
            unit=PER_S,
            runbook="AuthzStrangers",
        ),
    ]

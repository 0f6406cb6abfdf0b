"""Decision records on their way: queue, spool, sinks, and whatever did not arrive."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from charts.monitoring.code.frame import framed
from charts.monitoring.code.panel import BYTES, PER_S, SECONDS, SHARE, number, series
from charts.monitoring.code.query import Query, increase, most, of, rate, top, total

_RECORDS = "authz_records_total"


def dashboard() -> Dashboard:
    """Return it."""
    return framed(
        "authz-records",
        "authz / Records pipeline",
        "From the judging thread through queue and spool into each sink; what is late, and what is missing.",
        [
            ("Now", _now()),
            ("Sinks", _sinks()),
            ("Queue and spool", _spool()),
            ("What is missing", _missing()),
        ],
    )


def _now() -> list[Builder[Panel]]:
    return [
        number(
            "Written",
            "Records that arrived in sinks per second, summed over sinks.",
            Query(total(rate(_RECORDS, 'result="written"', 'sink!="spool"'))),
            unit=PER_S,
        ),
        number(
            "Missing",
            "Records that gaps declare in the time that is shown. Each gap stands in the stream, with its"
            " count.",
            Query(total(increase("authz_record_gaps_total"))),
            steps=(1,),
            runbook="AuthzRecordsMissing",
        ),
        number(
            "Late by",
            "Age of the oldest record that some sink does not have yet.",
            Query(most(of("authz_record_lag_seconds"))),
            unit=SECONDS,
            steps=(60, 300),
            runbook="AuthzRecordsLate",
        ),
        number(
            "Spool",
            "The fullest spool. From about 90 % on the oldest records are given up, allows first.",
            Query(f"max({of('authz_spool_bytes')} / {of('authz_spool_limit_bytes')})"),
            unit=SHARE,
            steps=(0.5, 0.7),
            runbook="AuthzSpoolFilling",
        ),
        number(
            "Sinks down",
            "Sinks that take nothing just now, over all sidecars.",
            Query(f"count({of('authz_record_sink_up')} == 0) or vector(0)"),
            steps=(1,),
            runbook="AuthzRecordSinkDown",
        ),
        number(
            "Shippers up",
            "Processes that ship records. Sidecars with one plain sink need none.",
            Query(total(of("authz_shipper_up"))),
            runbook="AuthzShipperDown",
        ),
    ]


def _sinks() -> list[Builder[Panel]]:
    return [
        series(
            "Records by sink and result",
            "Written; dropped (the queue was full), lost (at the end), refused (by this sink), sampled_out"
            " (as"
            " you asked). The sink `spool` is the way to the others.",
            Query(total(rate(_RECORDS), "sink, result"), "{{sink}} {{result}}"),
            unit=PER_S,
            runbook="AuthzRecordsMissing",
        ),
        series(
            "How late each sink is",
            "Age of the oldest record that is not there yet. A sink that is down does not hold up others.",
            Query(most(of("authz_record_lag_seconds"), "sink"), "{{sink}}"),
            unit=SECONDS,
            steps=(300,),
            runbook="AuthzRecordsLate",
        ),
        series(
            "How much each sink has before it",
            "Bytes in the spool that the sink has not taken yet.",
            Query(total(of("authz_record_lag_bytes"), "sink"), "{{sink}}"),
            unit=BYTES,
            runbook="AuthzRecordsLate",
        ),
        series(
            "Sinks up",
            "1 where the sink took what it was last given, the worst of the chosen sidecars.",
            Query(f"min by (sink) ({of('authz_record_sink_up')})", "{{sink}}"),
            runbook="AuthzRecordSinkDown",
        ),
        series(
            "Failed tries",
            "Tries to write that failed, per second. Each is made again later, until it succeeds or the spool"
            " is full.",
            Query(total(rate("authz_record_errors_total", 'sink!="spool"'), "sink"), "{{sink}}"),
            unit=PER_S,
            runbook="AuthzRecordSinkDown",
        ),
        series(
            "Traced checks",
            "Checks whose callers keep their trace: traced, or over_limit, beyond trace_max_per_s.",
            Query(total(rate("authz_traces_total"), "result"), "{{result}}"),
            unit=PER_S,
        ),
    ]


def _spool() -> list[Builder[Panel]]:
    return [
        series(
            "Queue in memory",
            "Share of record_queue that waits in memory, the ten fullest. It should be empty nearly always.",
            Query(
                top(10, f"{of('authz_records_waiting')} / {of('authz_records_waiting_limit')}"),
                "{{instance}} {{sink}}",
            ),
            unit=SHARE,
            steps=(0.5, 0.9),
            runbook="AuthzRecordsMissing",
        ),
        series(
            "Age of the queue",
            "For how long the oldest record has been waiting in memory. Some hundredths of a second are"
            " normal.",
            Query(
                top(10, most(of("authz_records_waiting_seconds"), "instance, sink")), "{{instance}} {{sink}}"
            ),
            unit=SECONDS,
            steps=(1,),
            runbook="AuthzRecordsMissing",
        ),
        series(
            "Spool",
            "Bytes that wait in the spool, and its bound, summed.",
            Query(total(of("authz_spool_bytes")), "waiting"),
            Query(total(of("authz_spool_limit_bytes")), "bound"),
            unit=BYTES,
            runbook="AuthzSpoolFilling",
        ),
        series(
            "Streams in the spool",
            "One for each life of a process that has records left. It grows where processes come and go and a"
            " sink is away.",
            Query(top(10, most(of("authz_spool_streams"), "instance")), "{{instance}}"),
            runbook="AuthzRecordSinkDown",
        ),
        series(
            "Errors of the spool",
            "Writes to the spool that failed, per second: it is full, or its disk is full, read-only or"
            " broken.",
            Query(total(rate("authz_record_errors_total", 'sink="spool"'), "instance"), "{{instance}}"),
            unit=PER_S,
            runbook="AuthzSpoolErrors",
        ),
        series(
            "Shipper restarts",
            "Processes that ship records, started anew in the time that is shown.",
            Query(top(10, total(increase("authz_shipper_restarts_total"), "instance")), "{{instance}}"),
            runbook="AuthzShipperDown",
        ),
    ]


def _missing() -> list[Builder[Panel]]:
    return [
        series(
            "Gaps by cause",
            "Records that gaps declare, per second, for each sink: queue_full, spool_full, damaged, killed,"
            " refused. docs/records.md says what each means.",
            Query(total(rate("authz_record_gaps_total"), "sink, why"), "{{sink}} {{why}}"),
            unit=PER_S,
            width=12,
            stacked=True,
            runbook="AuthzRecordsMissing",
        ),
        series(
            "Given up by thinning",
            "Records that were taken out of the spool to make room, allows first.",
            Query(total(rate("authz_spool_thinned_total"), "class"), "{{class}}"),
            unit=PER_S,
            width=12,
            stacked=True,
            runbook="AuthzSpoolFilling",
        ),
    ]

"""Every metric: its kind, its labels, what it means, and how those of several workers become one.

Label values come from documents and enums, never from a request: a client could otherwise fill the memory of
whoever stores them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Shape(NamedTuple):
    """One metric: what kind it is, its labels and its line in `docs/metrics.md`."""

    kind: str  # counter, gauge or histogram
    labels: tuple[str, ...]
    help: str
    merge: Literal["sum", "max", "min"] = "sum"  # how one series of several workers becomes one


METRICS: Mapping[str, Shape] = {
    "authz_checks_total": Shape(
        "counter", ("outcome", "reason"), "Checks answered; reasons: see reasons.md."
    ),
    "authz_check_duration_seconds": Shape("histogram", (), "From taking a call to handing over its reply."),
    "authz_checks_waiting": Shape(
        "gauge", (), "Checks that are here and not answered yet: to be judged, or to be given their tokens."
    ),
    "authz_traces_total": Shape(
        "counter",
        ("result",),
        "Checks whose callers keep their trace: `traced`, or `over_limit`, beyond `trace_max_per_s`.",
    ),
    "authz_rule_decisions_total": Shape(
        "counter",
        ("policy", "rule", "mode", "outcome"),
        "Decisions of each rule that allowed or denied; the setting `rule_series` bounds the series. In"
        " shadow also `none`, `error` and `undecidable`; where no rule decided, `rule` is empty. `mode` is"
        " `enforce`, `shadow`, or `override` of the overrides.",
    ),
    "authz_limit_decisions_total": Shape(
        "counter",
        ("limit", "mode", "store", "outcome"),
        "Decisions of each limit; a refused check charges none. In shadow also `error`, without a store,"
        " where `per` or `cost` failed.",
    ),
    "authz_limit_near_total": Shape(
        "counter",
        ("limit",),
        "Checks that passed a limit and left less than `near_limit_percent` of its burst. A burst of a few"
        " tokens is near at once.",
    ),
    "authz_shadow_changes_total": Shape(
        "counter",
        ("kind", "name", "outcome"),
        "Checks that would have ended with `outcome`, had this `policy` or `limit` been enforced and not in"
        " shadow.",
    ),
    "authz_shadow_crashes_total": Shape(
        "counter", (), "Documents in shadow that could not be asked for a bug of ours; the replies stood."
    ),
    "authz_rate_limits_enabled": Shape(
        "gauge", (), "0 where RATE_LIMIT_ENABLED switches every limit off.", "min"
    ),
    "authz_buckets": Shape("gauge", ("store",), "Buckets that are not full, by where they are kept."),
    "authz_guard_networks": Shape("gauge", (), "Client networks whose faults the guards of Sites remember."),
    "authz_guard_forgotten_total": Shape(
        "counter", (), "Client networks whose faults were forgotten early, for want of memory."
    ),
    "authz_store_up": Shape("gauge", ("store",), "Whether a store of buckets answers.", "min"),
    "authz_store_outages_total": Shape(
        "counter",
        ("store",),
        "How often a store stopped answering, and each limit did what its `onStoreError` says.",
    ),
    "authz_fleet_members": Shape(
        "gauge",
        (),
        "Processes that share the buckets in Redis, as last counted: in an outage each gives out its part. 0:"
        " not known, and limits that keep buckets locally then refuse.",
        "min",
    ),
    "authz_store_checks_total": Shape(
        "counter",
        ("store", "decided"),
        "Checks whose buckets are shared, those in shadow too: `asked` of the store; `remembered`, refused"
        " without asking, since a bucket surely had no room; `alone`, without it, as `onStoreError` says.",
    ),
    "authz_store_coalesced_total": Shape(
        "counter",
        ("store",),
        "Checks asked along with another that wanted the same, at no cost to the store.",
    ),
    "authz_store_calls_total": Shape(
        "counter",
        ("store", "result"),
        "Calls of the script that spends: `answered` (and `unreadable` besides, where a key holds no bucket),"
        " or why not: `down`, `timeout`, `closed`, `broken`, the first word of the store's own error (`oom`,"
        " `readonly`, ...), `other` for one unheard of, `crashed` for a bug of ours.",
    ),
    "authz_store_round_trip_seconds": Shape(
        "histogram", (), "From sending a batch of calls to a store until the last was answered, or given up."
    ),
    "authz_store_waiting": Shape(
        "gauge", ("store",), "Groups of checks that wait for the next round trip; each was judged together."
    ),
    "authz_store_links": Shape(
        "gauge", ("store", "state"), "Connections to a store: `up`, or `down` and being opened."
    ),
    "authz_store_connects_total": Shape(
        "counter", ("store",), "Connections that came up. After the first of each: others broke before."
    ),
    "authz_store_evicts": Shape(
        "gauge",
        ("store",),
        "1 where a store may drop buckets when its memory is full, and so refill them: see redis.md.",
        "max",
    ),
    "authz_snapshot_revision_info": Shape(
        "gauge", ("revision", "source_revision"), "The policy set in force.", "max"
    ),
    "authz_snapshot_loaded_timestamp_seconds": Shape(
        "gauge", (), "When the policy set in force was loaded.", "min"
    ),
    "authz_reloads_total": Shape(
        "counter",
        ("result",),
        "Changes of the policy set: `accepted`, `rejected`, `needs_newer` where it was rejected for that, or"
        " `unchanged`, where files were touched and say what they said.",
    ),
    "authz_snapshot_age_seconds": Shape(
        "gauge",
        (),
        "For how long the policy set in force has not been what stands in the directories; 0 while it is."
        " Parts of scopes do not count.",
        "max",
    ),
    "authz_snapshot_stale": Shape(
        "gauge", (), "1 once that is longer than `max_staleness_s`; see `when_stale`.", "max"
    ),
    "authz_snapshot_from_state": Shape(
        "gauge", (), "Parts of the policy set that are in force as an earlier life kept them.", "max"
    ),
    "authz_snapshot_needs_newer": Shape(
        "gauge", (), "1 while what stands in the directories needs a newer authz than this.", "max"
    ),
    "authz_snapshot_part_rejected": Shape(
        "gauge",
        ("part",),
        "1 while a part of the set is not in force as it stands in the directories: `platform`, `scopes`,"
        " `overrides`, or `scope:` and the name of a scope.",
        "max",
    ),
    "authz_snapshot_overrides": Shape(
        "gauge", (), "Deny rules of the overrides in force: above 0 while the brake is pulled.", "max"
    ),
    "authz_state_writes_total": Shape(
        "counter", ("result",), "Policy sets kept for the next start: `written`, or `failed`."
    ),
    "authz_reload_duration_seconds": Shape(
        "gauge", (), "How long the last try to load a changed set took, reading included.", "max"
    ),
    "authz_reload_running_seconds": Shape(
        "gauge", (), "For how long a set has been read or loaded just now; else 0.", "max"
    ),
    "authz_watch_told": Shape(
        "gauge",
        (),
        "Whether the system tells of changed files; 0: they are found every `poll_s` alone.",
        "min",
    ),
    "authz_policy_mounts_frozen": Shape(
        "gauge", (), "Mounts of policy files that can never change, such as those with `subPath`.", "max"
    ),
    "authz_snapshot_documents": Shape(
        "gauge",
        ("kind",),
        "Documents of the policy set in force, by their kind; overrides are not among them.",
        "max",
    ),
    "authz_keys_expiring": Shape(
        "gauge", ("within",), "API keys in force that expire within `24h`, `7d` or `30d`.", "max"
    ),
    "authz_key_next_expiry_timestamp_seconds": Shape(
        "gauge", (), "When the next API key in force expires.", "min"
    ),
    "authz_keys_disabled": Shape(
        "gauge", (), "API keys that can never be accepted, for want of their pepper.", "max"
    ),
    "authz_records_total": Shape(
        "counter",
        ("sink", "result"),
        "Records `written`, `dropped` because the queue was full, `lost` because there was no time at the"
        " end, or `refused` by a sink that takes others. Those written to the `spool` are on their way; those"
        " of `traces` were looked at for spans; of `none` are allows `sampled_out`, as `record_sample_allows`"
        " says.",
    ),
    "authz_records_waiting": Shape(
        "gauge",
        ("sink",),
        "Records in the queue in memory, before they are written; to the `spool`, or to the sink.",
    ),
    "authz_records_waiting_limit": Shape("gauge", ("sink",), "How many may be there: `record_queue`."),
    "authz_records_waiting_seconds": Shape(
        "gauge", ("sink",), "For how long the oldest of them has been waiting.", "max"
    ),
    "authz_record_errors_total": Shape(
        "counter",
        ("sink",),
        "Failed tries of a sink; of the `spool` itself, where its disk is broken or it is full.",
    ),
    "authz_record_sink_up": Shape(
        "gauge", ("sink",), "Whether a sink takes records; 1 as well before it was offered any.", "min"
    ),
    "authz_record_lag_seconds": Shape(
        "gauge",
        ("sink",),
        "How old the oldest record is that is being offered to a sink; 0 where it has everything.",
        "max",
    ),
    "authz_record_lag_bytes": Shape("gauge", ("sink",), "How much of the spool a sink has yet to get."),
    "authz_record_gaps_total": Shape(
        "counter",
        ("sink", "why"),
        "Records that gap lines at a sink say are missing, by why: see records.md. What nobody can count is"
        " left out.",
    ),
    "authz_spool_bytes": Shape("gauge", (), "How much stands in the spool."),
    "authz_spool_limit_bytes": Shape("gauge", (), "How much may stand there: `record_spool_bytes`."),
    "authz_spool_streams": Shape(
        "gauge",
        (),
        "Streams in the spool: one for each process that writes, and each that ended before all was shipped.",
    ),
    "authz_spool_thinned_total": Shape(
        "counter",
        ("class",),
        "Records given up because the spool was full: `allow`, or `other`. Sinks that had them keep them.",
    ),
    "authz_shipper_up": Shape("gauge", (), "Whether the process runs that ships records out of the spool."),
    "authz_shipper_restarts_total": Shape("counter", (), "How often it was started anew after it ended."),
    "authz_certificate_expiry_timestamp_seconds": Shape(
        "gauge",
        ("certificate",),
        "When our certificate (`server`) or the last of the callers' CAs (`client_ca`) expires.",
        "min",
    ),
    "authz_certificate_reloads_total": Shape(
        "counter",
        ("result",),
        "Changed certificate files, once per listener: `accepted`, or `rejected` and the last good kept.",
    ),
    "authz_strangers_total": Shape(
        "counter", (), "Calls turned away: their certificate is not in `tls_clients`, or expired by now."
    ),
    "authz_build_info": Shape("gauge", ("version", "python"), "The program that runs.", "max"),
    "authz_ready": Shape("gauge", (), "What `/ready` says: 1 where checks can be answered.", "min"),
    "authz_memory_limit_bytes": Shape(
        "gauge",
        (),
        "Memory that the kernel lets us have: of the control groups that we are in, that with the least room."
        " Absent without a limit.",
        "max",
    ),
    "authz_memory_working_set_bytes": Shape(
        "gauge",
        (),
        "What that group holds, records that wait in memory among it, and no files that may be forgotten.",
        "max",
    ),
    "authz_worker_up": Shape("gauge", ("worker",), "With `workers`: whether a worker answers checks."),
    "authz_worker_restarts_total": Shape(
        "counter",
        ("worker", "cause"),
        "Workers started anew after they `died` or were `stuck`.",
    ),
    "authz_worker_backoff_seconds": Shape(
        "gauge", ("worker",), "How long a worker that keeps dying young waits for its next start."
    ),
    "authz_worker_revision_info": Shape(
        "gauge", ("worker", "revision"), "The policy set in force in each worker."
    ),
    "authz_worker_cpu_seconds_total": Shape(
        "counter", ("worker",), "Processor time of a worker; begins anew with each start."
    ),
    "authz_worker_resident_bytes": Shape("gauge", ("worker",), "Memory that a worker holds."),
}

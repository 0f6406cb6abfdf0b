"""What metrics say that others know, as samples: asked once a scrape."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

from authz.record.cgroup import MemoryFacts
from authz.record.facts import (
    AgeFacts,
    Facts,
    FleetFacts,
    GuardFacts,
    LoadFacts,
    RecordFacts,
    SnapshotFacts,
    StoreFacts,
    TlsFacts,
)
from authz.record.samples import Sample, durations

_RELOADS = ("accepted", "rejected")
_STATE_WRITES = ("written", "failed")
_CERTIFICATES = ("accepted", "rejected")


def fetched(facts: Facts) -> dict[str, list[Sample]]:
    """Return every number that somebody else knows, as it is now."""
    return {
        "authz_rate_limits_enabled": [((), float(facts.rate_limits))],
        "authz_buckets": [((store,), count) for store, count in facts.buckets().items()],
        "authz_store_up": [((store,), float(up)) for store, up in facts.stores().items()],
        "authz_reloads_total": _counts(facts.reloads(), _RELOADS),
        "authz_build_info": [((facts.version, platform.python_version()), 1.0)],
        **_of_process(facts),
        **_of_fleet(facts.fleet()),
        **_of_store(facts.store()),
        **_of_guard(facts.guard()),
        **_of_snapshot(facts.snapshot()),
        **_of_age(facts.age()),
        **_of_loading(facts.loading()),
        **_of_tls(facts.tls()),
        **_of_records(facts.records()),
    }


def of_process(memory: MemoryFacts | None, *, ready: bool) -> dict[str, list[Sample]]:
    """Return what is true of all processes of a sidecar together."""
    return {
        "authz_ready": [((), float(ready))],
        "authz_memory_limit_bytes": [((), memory.limit_bytes)] if memory else [],
        "authz_memory_working_set_bytes": [((), memory.working_bytes)] if memory else [],
    }


def _of_process(facts: Facts) -> dict[str, list[Sample]]:
    ready, waiting = facts.ready(), facts.waiting()
    return {
        **(of_process(facts.memory(), ready=ready) if ready is not None else {}),
        "authz_checks_waiting": [((), waiting)] if waiting is not None else [],
    }


def _counts(counts: Mapping[str, int], always: Sequence[str], *labels: str) -> list[Sample]:
    """Return counts by result; those that alerts ask stand at 0 from the start.

    A counter that appears with its first event has not increased, as Prometheus sees it.
    """
    return [((*labels, result), count) for result, count in {**dict.fromkeys(always, 0), **counts}.items()]


def _of_fleet(fleet: FleetFacts | None) -> dict[str, list[Sample]]:
    if fleet is None:
        return {}
    return {
        "authz_fleet_members": [((), fleet.members)],
        "authz_store_outages_total": [((fleet.store,), fleet.outages)],
    }


def _of_store(facts: StoreFacts | None) -> dict[str, list[Sample]]:
    if facts is None:
        return {}
    store, trips = facts.store, facts.trips
    return {
        "authz_store_calls_total": [((store, result), count) for result, count in facts.calls.items()],
        "authz_store_round_trip_seconds": durations(trips.counts.copy(), trips.sum_us),
        "authz_store_checks_total": [((store, how), count) for how, count in facts.checks.items()],
        "authz_store_coalesced_total": [((store,), facts.coalesced)],
        "authz_store_waiting": [((store,), facts.waiting)],
        "authz_store_links": [((store, state), count) for state, count in facts.links.items()],
        "authz_store_connects_total": [((store,), facts.connects)],
        "authz_store_evicts": [((store,), float(facts.evicts))] if facts.evicts is not None else [],
    }


def _of_guard(guard: GuardFacts | None) -> dict[str, list[Sample]]:
    return {
        "authz_guard_networks": [((), guard.networks)] if guard else [],
        "authz_guard_forgotten_total": [((), guard.forgotten)] if guard else [],
    }


def _of_snapshot(snapshot: SnapshotFacts | None) -> dict[str, list[Sample]]:
    expiry = snapshot.next_key_expiry_s if snapshot else None
    return {
        "authz_snapshot_revision_info": (
            [((snapshot.revision, snapshot.source_revision), 1.0)] if snapshot else []
        ),
        "authz_snapshot_loaded_timestamp_seconds": [((), snapshot.loaded_s)] if snapshot else [],
        "authz_key_next_expiry_timestamp_seconds": [((), expiry)] if expiry is not None else [],
        "authz_snapshot_overrides": [((), snapshot.overrides)] if snapshot else [],
        "authz_keys_disabled": [((), snapshot.keys_disabled)] if snapshot else [],
        "authz_keys_expiring": (
            [((within,), count) for within, count in snapshot.keys_expiring.items()] if snapshot else []
        ),
        "authz_snapshot_documents": (
            [((kind,), count) for kind, count in snapshot.documents.items()] if snapshot else []
        ),
    }


def _of_age(age: AgeFacts | None) -> dict[str, list[Sample]]:
    if age is None:
        return {}
    return {
        "authz_snapshot_age_seconds": [((), age.age_s)],
        "authz_snapshot_stale": [((), float(age.stale))],
        "authz_snapshot_from_state": [((), age.from_state)],
        "authz_snapshot_needs_newer": [((), float(age.needs_newer))],
        "authz_state_writes_total": _counts(age.kept, _STATE_WRITES) if age.kept else [],
        "authz_snapshot_part_rejected": [((part,), float(refused)) for part, refused in age.parts.items()],
    }


def _of_loading(loading: LoadFacts | None) -> dict[str, list[Sample]]:
    if loading is None:
        return {}
    return {
        "authz_reload_duration_seconds": [((), loading.took_s)],
        "authz_reload_running_seconds": [((), loading.running_s)],
        "authz_watch_told": [((), float(loading.told))],
        "authz_policy_mounts_frozen": [((), loading.frozen)],
    }


def _of_tls(facts: TlsFacts) -> dict[str, list[Sample]]:
    return {
        "authz_certificate_expiry_timestamp_seconds": [((name,), at) for name, at in facts.expiry_s.items()],
        "authz_certificate_reloads_total": _counts(facts.reloads, _CERTIFICATES) if facts.expiry_s else [],
        "authz_strangers_total": [((), facts.strangers)] if facts.expiry_s else [],
    }


def _of_records(facts: Sequence[RecordFacts]) -> dict[str, list[Sample]]:
    results: list[Sample] = []
    for sink, counts, _, _ in facts:
        by_result = (("written", counts.written), ("dropped", counts.dropped), ("lost", counts.lost))
        results += [((sink, result), count) for result, count in by_result]
    return {
        "authz_records_total": results,
        "authz_records_waiting": [((sink,), counts.waiting) for sink, counts, _, _ in facts],
        "authz_records_waiting_limit": [((sink,), most) for sink, _, most, _ in facts if most],
        "authz_records_waiting_seconds": [((sink,), waited_s) for sink, _, _, waited_s in facts],
        "authz_record_errors_total": [((sink,), counts.errors) for sink, counts, _, _ in facts],
    }

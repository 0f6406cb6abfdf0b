"""The demo's tour: takes the steps through Envoy and compares what came of each with what had to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.proxy.client import Reply, request_bytes, send_raw
from authz.proxy.stage import Stage
from authz.proxy.steps import Step
from authz.proxy.upstream import Seen

_RECORD_WAIT_S = 5.0
_CREDENTIALS = ("x-api-key", "authorization", "cookie")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step; `faults` is empty where everything came as expected."""

    step: Step
    reply: Reply
    record: Mapping[str, object]
    seen: tuple[Seen, ...]
    faults: tuple[str, ...]

    @property
    def told(self) -> str:
        """What the record says: the reason and its detail; or who answered instead."""
        reason, detail = self.record.get("reason", ""), self.record.get("detail", "")
        if not reason:
            return "Envoy itself"
        return f"{reason} ({detail})" if detail else str(reason)

    @property
    def application(self) -> str:
        """What the application saw, in a few words; never a credential's value."""
        if not self.seen:
            return "not called"
        seen = self.seen[0]
        return ", ".join([f"{seen.method} {seen.path}", *(_shown(seen, name) for name in self.step.sees)])


def walk(stage: Stage, tour: Sequence[Step]) -> Iterator[Outcome]:
    """Take the steps one after another.

    Raises:
        OSError: Envoy cannot be reached any more.
    """
    records = _Records(stage.records)
    before = Reply(0)
    for number, step in enumerate(tour, 1):
        if step.waits:
            # A refusal names whole seconds that are enough; the fraction covers the clock's own grain.
            time.sleep(int(before.header("retry-after") or 0) + 0.05)
        outcome = _take(stage, step, f"tour-{number}", records)
        before = outcome.reply
        yield outcome


class _Records:
    """The sidecar's decision records, read as they are written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._by_request: dict[str, dict[str, object]] = {}

    def find(self, request_id: str, wait_s: float) -> dict[str, object]:
        """Return the record of a request; empty where none comes in time."""
        end = time.monotonic() + wait_s
        while True:
            self._read()
            if request_id in self._by_request or time.monotonic() > end:
                return self._by_request.get(request_id, {})
            time.sleep(0.005)

    def _read(self) -> None:
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data.rpartition(b"\n")[0]  # a line that is still being written waits for the next look
        self._offset += len(whole) + 1 if whole else 0
        for line in whole.splitlines():
            record = json.loads(line)
            self._by_request[str(record.get("request_id", ""))] = record


def _take(stage: Stage, step: Step, request_id: str, records: _Records) -> Outcome:
    stage.upstream.take()
    headers = [("host", step.host), ("x-request-id", request_id), *step.headers]
    reply = send_raw(stage.port, request_bytes(step.method, step.target, headers))
    record = records.find(request_id, _RECORD_WAIT_S if step.reason else 0)
    seen = tuple(stage.upstream.take())
    return Outcome(step, reply, record, seen, tuple(_faults(step, reply, record, seen)))


def _faults(step: Step, reply: Reply, record: Mapping[str, object], seen: Sequence[Seen]) -> Iterator[str]:
    if reply.status != step.status:
        yield f"expected status {step.status}, got {reply.status}"
    reason = step.reason.value if step.reason else None
    if record.get("reason") != reason:
        yield f"expected the record to say {reason}, got {record.get('reason')}"
    for name, value in step.replies.items():
        got = reply.header(name)
        if not got or (value not in ("*", got)):
            yield f"expected the header {name}: {value}, got {got or 'none'}"
    if len(seen) != step.passes:
        yield f"expected {int(step.passes)} calls of the application, got {len(seen)}"
    for request in seen:
        yield from _upstream_faults(step, request)


def _upstream_faults(step: Step, seen: Seen) -> Iterator[str]:
    if (seen.method, seen.path) != (step.method, step.path or step.target):
        yield f"expected the application to see {step.method} {step.path or step.target}"
    for name, value in step.sees.items():
        if seen.values(name) != ([value] if value else []):
            yield f"expected the application to see {_shown(seen, name)} as {value or 'absent'}"


def _shown(seen: Seen, name: str) -> str:
    values = seen.values(name)
    if not values:
        return f"no {name}"
    return f"{name}: (a credential)" if name in _CREDENTIALS else f"{name}: {', '.join(values)}"

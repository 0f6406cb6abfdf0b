"""A sidecar with a limit of each `onStoreError`, somebody who asks it, and what may become of the checks.

ALONE     each limit does what its `onStoreError` says: `local` spends its own bucket, `allow` passes,
          `deny` is 503 `store_unavailable`; every record says `outage`
KEPT      nothing is felt: Redis decides
EITHER    some checks are decided by Redis, the others as in ALONE; no bucket gives more than both
REFUSED   a lie that nobody can tell from the truth, "there is no room": everything is 429
GRANTED   the other one, "there is room": everything passes. Whoever runs the Redis sets the limits
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authz.bench.usage import resident_mib
from tests.support.checks import check_request
from tests.support.grpc import Ask, client, read
from tests.support.policies import documents
from tests.support.serving import Running, running
from tests.support.workers import status

ALONE, KEPT, EITHER, REFUSED, GRANTED = "alone", "kept", "either", "refused", "granted"
STORES = {
    ALONE: {"outage"},
    KEPT: {"redis"},
    EITHER: {"redis", "outage"},
    REFUSED: {"redis"},
    GRANTED: {"redis"},
}

CHECKS = 12  # of each limit, and as many without
BURST = 3
LIMITS = ("local", "allow", "deny")
POLICY = "\n---\n".join(
    [
        *(
            f"kind: Limit\nmetadata: {{name: {name}}}\n"
            f"spec: {{per: [client.network, params.case], rate: {BURST}/d, onStoreError: {name}}}"
            for name in LIMITS
        ),
        "kind: Policy\nmetadata: {name: p}\nspec:\n  hosts: [a.example.com]\n  rules:\n"
        "    - {name: free, effect: allow, paths: [/free], identity: [anonymous]}\n"
        "    - {name: both, effect: allow, paths: ['/both/{case}'], identity: [anonymous],"
        " limits: [allow, deny]}\n"
        + "".join(
            f"    - {{name: {name}, effect: allow, paths: ['/{name}/{{case}}'], identity: [anonymous],"
            f" limits: [{name}]}}\n"
            for name in LIMITS
        ),
    ]
)


TIMEOUT_MS = 300  # so patient that a busy machine makes no outage where there is none
DEADLINE_S = 2.0
PATIENCE_S = 30.0
_LINES_MAX = 12  # of log, for one fault: 48 checks and, while it lasts, a few connections


class Site:
    """A sidecar, and somebody who asks."""

    def __init__(self, sidecar: Running, ask: Ask) -> None:
        self.sidecar, self._ask = sidecar, ask
        self._read = 0
        self._tries = 0

    def told(self, path: str) -> int:
        """Ask once."""
        payload = check_request(host="a.example.com", path=path)
        return status(read(self._ask(payload, timeout=DEADLINE_S)))

    def asked(self, case: str) -> dict[str, list[int]]:
        """Ask for each limit, on a bucket of its own, and without any."""
        told = {limit: [self.told(f"/{limit}/{case}") for _ in range(CHECKS)] for limit in LIMITS}
        return {**told, "free": [self.told("/free") for _ in range(CHECKS)]}

    def is_well(self) -> bool:
        """Whether a limit that refuses without Redis lets a new bucket pass."""
        self._tries += 1
        return self.told(f"/deny/well-{self._tries}") == 200

    def wait_until_well(self) -> None:
        """Wait until it is."""
        end_s = time.monotonic() + PATIENCE_S
        while not self.is_well():
            assert time.monotonic() < end_s, f"it did not become well: {self.log()[-2:]}"
            time.sleep(0.01)

    def log(self) -> list[str]:
        """The lines that were written since this was last asked."""
        text = (self.sidecar.home / "log").read_text()[self._read :]
        self._read += len(text)
        return text.splitlines()

    def records(self, case: str, count: int) -> list[dict[str, Any]]:
        """The records of a case, once there are so many."""
        path, end_s = self.sidecar.home / "records", time.monotonic() + PATIENCE_S
        while True:
            lines = path.read_text().splitlines()
            found = [line for line in map(json.loads, lines) if line["request"]["path"].endswith(f"/{case}")]
            if len(found) >= count or time.monotonic() > end_s:
                return found
            time.sleep(0.02)

    def mib(self) -> float:
        """Memory that it holds."""
        return resident_mib(self.sidecar.child.pid)


@contextmanager
def limited(home: Path, debug: str = "off", **environ: str) -> Iterator[Site]:
    """Start one in this directory; `environ` says where its Redis is, `debug` where it may be asked more."""
    (home / "policies").mkdir()
    for name, content in documents(POLICY).items():
        (home / "policies" / name).write_bytes(content)
    environ = {
        "AUTHZ_RECORD_SINK": f"file:{home}/records",
        "AUTHZ_REDIS_TIMEOUT_MS": str(TIMEOUT_MS),
        "AUTHZ_FLEET_SIZE": "1",
        **environ,
    }
    with running(home, debug, **environ) as sidecar, client(f"unix:{home}/a.sock") as ask:
        yield Site(sidecar, ask)
        assert sidecar.child.running


def judge(outcome: str, told: dict[str, list[int]]) -> None:
    """Assert that statuses are what the outcome says."""
    assert told["free"] == [200] * CHECKS
    match outcome:
        case "alone":
            assert _passed(told["local"]) == (BURST, CHECKS - BURST)
            assert told["allow"] == [200] * CHECKS
            assert told["deny"] == [503] * CHECKS
        case "kept":
            for name in LIMITS:
                assert _passed(told[name]) == (BURST, CHECKS - BURST)
        case "either":
            assert told["local"].count(200) <= 2 * BURST
            assert set(told["local"]) | set(told["allow"]) <= {200, 429}
            assert told["deny"].count(200) <= BURST
            assert set(told["deny"]) <= {200, 429, 503}
        case "refused":
            assert [told[name] for name in LIMITS] == [[429] * CHECKS] * 3
        case "granted":
            assert [told[name] for name in LIMITS] == [[200] * CHECKS] * 3


def judge_outputs(site: Site, outcome: str, case: str) -> None:
    """Assert that records and log are what the outcome says: nothing crashed, and nothing flooded."""
    records = site.records(case, 3 * CHECKS)
    assert len(records) == 3 * CHECKS
    assert {limit["store"] for record in records for limit in record["limits"]} <= STORES[outcome]
    reasons = Counter(record["reason"] for record in records)
    assert set(reasons) <= {"allowed", "rate_limited", "store_unavailable"}
    lines = site.log()
    assert len(lines) <= _LINES_MAX, "\n".join(lines)
    assert max(map(len, lines), default=0) < 1000
    events = [json.loads(line) for line in lines]  # a traceback is no JSON
    assert not [event for event in events if event["level"] == "error" or "crash" in event["event"]], events


def _passed(statuses: list[int]) -> tuple[int, int]:
    """How many passed first, and how many were refused after them for want of tokens."""
    passed = statuses.count(200)
    assert statuses == [200] * passed + [429] * (len(statuses) - passed)
    return passed, len(statuses) - passed

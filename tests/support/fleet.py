"""Several sidecars that share one Redis, each a process of its own with a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from authz.proxy.process import Child, Plan, free_port, http_get, program
from tests.support.grpc import Ask, client, read
from tests.support.policies import PEPPER
from tests.support.workers import status

PATIENCE_S = 60.0  # for a machine that does other things, too

# Every clock that this product can read is set wrong before it is imported: the wall by what a file says at
# that moment, the other by as much for ever, as on a machine that was started at another time. Libraries in C
# have clocks of their own, and grpcio compares `time.time` with them: to it alone it stays right.
_WRONG_CLOCKS = """
import os, sys, time
_file = os.environ.get("WRONG_CLOCK")
if _file:
    def _off(file=_file):
        with open(file) as opened:
            return int(opened.read())
    def _time(wall=time.time):
        ours = sys._getframe(1).f_globals.get("__name__", "").startswith("authz")
        return wall() + (_off() if ours else 0)
    _wall_ns, _ticks_ns, _ticks_off = time.time_ns, time.monotonic_ns, abs(_off()) * 10**9
    time.time_ns = lambda: _wall_ns() + _off() * 10**9
    time.time = _time
    time.monotonic_ns = lambda: _ticks_ns() + _ticks_off
    time.monotonic = lambda: time.monotonic_ns() / 1e9
"""


class Member:
    """One sidecar.

    Args:
        off_s: how wrong its clock is.
    """

    def __init__(self, home: Path, policies: Path, redis_url: str, off_s: int, stack: ExitStack) -> None:
        self.socket, self.records, self._clock = home / "a.sock", home / "records", home / "clock"
        self._ops = free_port()
        self.set_clock(off_s)
        (home / "sitecustomize.py").write_text(_WRONG_CLOCKS)
        command = [program("authz"), "serve", "--policies", str(policies), "--debug", "off"]
        command += ["--listen", f"unix:{self.socket}", "--ops", f"127.0.0.1:{self._ops}"]
        env = {
            "API_KEY_SALT": PEPPER.decode(),
            "AUTHZ_DRAIN_S": "0",
            "AUTHZ_MAX_WAIT_MS": "10000",
            "AUTHZ_RECORD_SINK": f"file:{self.records}",
            "AUTHZ_REDIS_TIMEOUT_MS": "1000",
            "AUTHZ_STATE": "off",
            "PYTHONPATH": str(home),
            "REDIS_URL": redis_url,
            "WRONG_CLOCK": str(self._clock),
        }
        self._child = stack.enter_context(
            Child(Plan(home.name, command, home / "log", home / "out", env=env))
        )

    def set_clock(self, off_s: int) -> None:
        """Set its wall clock wrong by so many seconds, at once."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(off_s))
        new.replace(self._clock)

    def wait_until_ready(self) -> None:
        """Wait until it serves, and Redis answers it."""
        self._child.wait_until(lambda: self.number('authz_store_up{store="redis"}') == 1, PATIENCE_S)
        self._child.wait_until(lambda: (http_get(self._ops, "/ready") or (0,))[0] == 200, PATIENCE_S)

    def number(self, series: str) -> float:
        """One sample of its metrics; 0 where it is not there."""
        _, page = http_get(self._ops, "/metrics") or (0, b"")
        lines = [line for line in page.decode().splitlines() if line.startswith(f"{series} ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    def recorded(self) -> list[dict[str, Any]]:
        """What it has written down."""
        return [json.loads(line) for line in self.records.read_text().splitlines()]


class Fleet:
    """Sidecars that run, and somebody who asks them all."""

    def __init__(self, members: Sequence[Member], asks: Sequence[Ask]) -> None:
        self.members = members
        self._asks = asks

    def told(self, *payloads: bytes) -> list[int]:
        """Ask about all of them at once, each another sidecar in turn; return the statuses in order."""
        calls = [
            self._asks[number % len(self._asks)].future(payload, timeout=PATIENCE_S)  # type: ignore[attr-defined] # grpc has no types
            for number, payload in enumerate(payloads)
        ]
        return [status(read(call.result())) for call in calls]


@contextmanager
def fleet(home: Path, policies: Path, redis_url: str, off_s: Sequence[int]) -> Iterator[Fleet]:
    """Start as many sidecars as there are clocks, all at once."""
    with ExitStack() as stack:
        members = []
        for number, off in enumerate(off_s):
            own = home / f"s{number}"
            own.mkdir()
            members.append(Member(own, policies, redis_url, off, stack))
        for member in members:
            member.wait_until_ready()
        yield Fleet(members, [stack.enter_context(client(f"unix:{each.socket}")) for each in members])

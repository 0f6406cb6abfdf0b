"""Calls of `Check` at a rate of our own choosing, whether or not they are answered: `python -m
authz.bench.openloop --socket PATH... --frame FILE... --rate N --seconds S`.

A generator that waits for answers before it asks again slows down with the server and never overloads it;
callers of a proxy do not wait for each other. It sends evenly, one call when one is due, asks for many
callers in turn, counts each answer by what it says and times it from when it was due, not from when it was
sent. How late it was itself is part of those times, and told. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import selectors
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from authz.bench.connection import BROKEN, Connection
from authz.model.errors import NotStarted

_TICK_S = 0.0005  # while calls wait for room
_IDLE_S = 0.05
_UNAVAILABLE = 14  # of google.rpc, what goes with 503
_TIMEOUT_S = 120.0


class Outcome(NamedTuple):
    """What a run saw. Rates are per second of its length."""

    sent: int
    turned_away: int  # not sent: as many as may be were open, as Envoy's circuit breaker has it
    seconds: float
    allowed: int
    late: int  # allowed after the deadline
    unavailable: int  # an explicit 503
    refused: int  # any other refusal
    errors: int  # gRPC errors and resets
    unanswered: int
    p50_ms: float  # of allowed calls, from when each was due
    p99_ms: float
    behind_ms: float  # how late the generator itself was, at worst
    cpu_share: float  # of one core, that it took itself
    behind_p99_ms: float
    wall_s: float  # from the first call to the last answer

    @property
    def answered(self) -> int:
        """How many calls were answered with a decision."""
        return self.allowed + self.unavailable + self.refused


class Sample(NamedTuple):
    """One call and its end."""

    due_s: float  # of the monotonic clock, which all processes share
    took_s: float  # from when it was due
    code: int  # of google.rpc, 0: allowed; or BROKEN


class Run:
    """One run over some connections, spread over all sockets."""

    def __init__(
        self, paths: Sequence[Path], payloads: Sequence[bytes], deadline_ms: int, connections: int
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: list[Sample] = []
        self._deadline_s = deadline_ms / 1000
        self._behind: list[float] = []
        self._payloads = payloads
        self._timeout = f"{deadline_ms}m"
        self._last_s = 0.0
        # It waits in microseconds, where epoll counts milliseconds.
        self._selector = selectors.SelectSelector()
        self._connections = [self._connected(str(paths[each % len(paths)])) for each in range(connections)]

    def go(self, rate: float, seconds: float, closed: int = 0, most: int = 0) -> Outcome:
        """Ask at a rate; or, with `closed`, so that always so many calls are open.

        Args:
            most: no more calls than this are open at once, the others are turned away; 0: any number.
        """
        began_s, cpu_s = time.monotonic(), time.process_time()
        due: deque[float] = deque()
        made = sent = 0
        while (now_s := time.monotonic()) < began_s + seconds:
            if closed:
                due.extend([now_s] * (closed - self._open() - len(due)))
                next_s = now_s + _IDLE_S
            else:
                wanted = int((now_s - began_s) * rate) + 1
                due.extend(began_s + number / rate for number in range(made, wanted))
                made = max(made, wanted)
                next_s = began_s + made / rate
                if most:
                    self._turn_away(due, most)
            sent += self._send(due, sent, now_s)
            self._turn(_TICK_S if due else max(0.0, next_s - time.monotonic()))
        self._wait(2 * self._deadline_s + 0.5)
        spent_s = time.process_time() - cpu_s
        return self._outcome(sent, seconds, spent_s / (time.monotonic() - began_s), self._last_s - began_s)

    def close(self) -> None:
        """Hang up."""
        self._selector.close()
        for connection in self._connections:
            connection.close()

    def _connected(self, path: str) -> Connection:
        connection = Connection(path, self._timeout, self._payloads, self._ended)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        return connection

    def _ended(self, code: int, due_s: float) -> None:
        self._last_s = now_s = time.monotonic()
        took_s = now_s - due_s
        self.samples.append(Sample(due_s, took_s, code))
        if code == 0:
            self.counts["allowed"] += 1
            if took_s > self._deadline_s:
                self.counts["late"] += 1
        elif code == BROKEN:
            self.counts["errors"] += 1
        else:
            self.counts["unavailable" if code == _UNAVAILABLE else "refused"] += 1

    def _open(self) -> int:
        return sum(len(connection.open) for connection in self._connections)

    def _turn_away(self, due: deque[float], most: int) -> None:
        for _ in range(len(due) - max(0, most - self._open())):
            due.pop()
            self.counts["turned_away"] += 1

    def _send(self, due: deque[float], sent: int, now_s: float) -> int:
        """Hand what is due to the connections in turn; what has no room stays due."""
        began = sent
        connections, kinds = self._connections, len(self._payloads)
        while due:
            for step in range(len(connections)):
                if connections[(sent + step) % len(connections)].ask(due[0], sent % kinds):
                    break
            else:
                break
            self._behind.append(now_s - due.popleft())
            sent += 1
        return sent - began

    def _turn(self, wait_s: float) -> None:
        for connection in self._connections:
            if connection.out:
                connection.flush()
        for key, _ in self._selector.select(wait_s):
            key.data.read()
            if key.data.closed:
                self._again(key.data)

    def _again(self, connection: Connection) -> None:
        """What was open on a connection that is gone is lost; Envoy would connect anew, so we do."""
        self._selector.unregister(connection.socket)
        connection.close()
        self._connections[self._connections.index(connection)] = self._connected(connection.path)

    def _wait(self, seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while self._open() and time.monotonic() < end_s:
            self._turn(_IDLE_S)

    def _outcome(self, sent: int, seconds: float, cpu_share: float, wall_s: float) -> Outcome:
        took = sorted(sample.took_s for sample in self.samples if sample.code == 0)
        behind, counts = sorted(self._behind), self.counts
        return Outcome(
            sent,
            counts["turned_away"],
            seconds,
            counts["allowed"],
            counts["late"],
            counts["unavailable"],
            counts["refused"],
            counts["errors"],
            self._open(),
            share(took, 0.5) * 1000,
            share(took, 0.99) * 1000,
            share(behind, 1.0) * 1000,
            cpu_share,
            share(behind, 0.99) * 1000,
            wall_s,
        )


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value that this part of all values does not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


def ask(sockets: Sequence[Path], frames: Sequence[Path], *how: str) -> Outcome:
    """Run the generator once, in a process of its own.

    Args:
        how: more flags.

    Raises:
        NotStarted: it ended in an error, such as a socket that nobody listens on.
    """
    done = subprocess.run(  # noqa: S603 - our own words
        command(sockets, frames, *how), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise NotStarted(f"the generator ended with {done.returncode}", done.stderr[-500:])
    return Outcome(**json.loads(done.stdout))


def command(sockets: Sequence[Path], frames: Sequence[Path], *how: str) -> list[str]:
    """Return the command of one run."""
    named = ["--socket", *map(str, sockets), "--frame", *map(str, frames)]
    return [sys.executable, "-m", "authz.bench.openloop", *named, *how]


def traced(file: Path) -> list[Sample]:
    """Read what `--trace` wrote."""
    return [Sample(*line) for line in json.loads(file.read_text(encoding="utf-8"))]


def main() -> None:
    """Run once and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=Path, nargs="+", required=True)
    parser.add_argument("--frame", type=Path, nargs="+", required=True, help="files of prepared calls")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--closed", type=int, default=0)
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--deadline-ms", type=int, default=200)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--trace", type=Path, help="write each call's end there")
    chosen = parser.parse_args()
    payloads = [payload for file in chosen.frame for payload in split(file.read_bytes())]
    run = Run(chosen.socket, payloads, chosen.deadline_ms, chosen.connections)
    outcome = run.go(chosen.rate, chosen.seconds, chosen.closed, chosen.most)
    run.close()  # what was never answered ends here
    if chosen.trace:
        chosen.trace.write_text(json.dumps(run.samples), encoding="utf-8")
    json.dump(outcome._asdict(), sys.stdout)


def split(data: bytes) -> list[bytes]:
    """Return the calls of a file, in which they stand one after the other, each in its gRPC frame."""
    found, at = [], 0
    while at < len(data):
        end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
        found.append(data[at:end])
        at = end
    return found


if __name__ == "__main__":
    main()

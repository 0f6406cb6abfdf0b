"""Goodput beyond the peak: `python -m tests.bench.bench_overload [ROUNDS] [SECONDS] [OPTION]...`.

Each round measures the peak (always so many calls open as keep the sidecar busy) and then, at once, rates of
1, 1.5, 2 and 3 times it with Envoy's default deadline of 200 ms. Prints medians over the rounds of what was
allowed in time, compared with the same round's peak. The generator is a process of its own and shares the
cores with the server, as does the thread that moves bytes: what they take of two cores at thrice the peak,
judging lacks.

The generator keeps to what the generated Envoy keeps to: so many calls are open at most, and the others are
turned away at once, which clients of Envoy see as 503. `--unbounded` leaves that out: then calls wait in the
socket, where the sidecar does not see them. `--costly` asks for a condition that takes a third of a
millisecond: then generator and input take next to nothing, and what is measured is how the sidecar chooses,
not how many cores the machine has.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from authz.bench import openloop, subjects
from authz.bench.frame import frame
from authz.bench.openloop import Outcome
from authz.proxy.cluster import CHECKS_OPEN

FACTORS = (1.0, 1.5, 2.0, 3.0)
DEADLINE_MS = 200
# Open calls while the peak is measured: so many that judging never waits, so few that none is refused.
CLOSED, CLOSED_COSTLY = "256", "16"
KEYS = 200
COSTLY = """apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: costly}
spec:
  hosts: [costly.example.com]
  rules:
    - {name: all, effect: allow, identity: [anyone], when: 'request.segments.all(s, s.matches("^[a-f]+$"))'}
"""
COSTLY_PATH = "/" + "/".join(["abcdef"] * 300)


def ask(socket: Path, frames: list[Path], *how: str) -> Outcome:
    """Run the generator once, in a process of its own."""
    return openloop.ask([socket], frames, *how, "--deadline-ms", str(DEADLINE_MS))


def main() -> None:
    """Measure and print."""
    numbers = [word for word in sys.argv[1:] if word.isdecimal()]
    rounds, seconds = int(numbers[0]) if numbers else 5, numbers[1] if len(numbers) > 1 else "3"
    with tempfile.TemporaryDirectory(prefix="authz-") as name, ExitStack() as stack:
        directory = Path(name)
        written = subjects.policy_set(directory / "policies", 10, KEYS)
        (written.directory / "costly.yaml").write_text(COSTLY)
        server = subjects.start_sidecar(directory, written, stack)
        frames = []
        for number in range(16):
            host, path = written.target(number)
            if "--costly" in sys.argv:
                host, path = "costly.example.com", COSTLY_PATH
            frames.append(directory / f"{number}.frame")
            frames[-1].write_bytes(frame(host, path, written.tokens[number]))
        closed = CLOSED_COSTLY if "--costly" in sys.argv else CLOSED
        ask(server.socket, frames, "--closed", closed, "--seconds", "1")  # warms
        most = "0" if "--unbounded" in sys.argv else str(CHECKS_OPEN)
        seen: dict[float, list[tuple[float, Outcome]]] = {factor: [] for factor in FACTORS}
        peaks = []
        for _ in range(rounds):
            best = ask(server.socket, frames, "--closed", closed, "--seconds", seconds)
            peak = best.allowed / best.seconds
            peaks.append(peak)
            for factor in FACTORS:
                rate = str(peak * factor)
                found = ask(server.socket, frames, "--rate", rate, "--most", most, "--seconds", seconds)
                seen[factor].append((peak, found))
    sys.stdout.write(f"peak {median(peaks):,.0f}/s, {rounds} rounds of {seconds} s\n")
    sys.stdout.write(
        "load   goodput/s  of peak  turned away     503   errors  late  unanswered  p50 ms  p99 ms"
        "  generator\n"
    )
    for factor, runs in seen.items():
        row(factor, runs)


def row(factor: float, runs: list[tuple[float, Outcome]]) -> None:
    """Print the medians of one load."""
    good = median((run.allowed - run.late) / run.seconds for _, run in runs)
    share = median((run.allowed - run.late) / run.seconds / peak for peak, run in runs)
    shed = median(run.unavailable / (run.sent + run.turned_away) for _, run in runs)
    away = median(run.turned_away / (run.sent + run.turned_away) for _, run in runs)
    errors, late, lost = (
        sum(getattr(run, name) for _, run in runs) for name in ("errors", "late", "unanswered")
    )
    p50, p99, cpu = (
        median(getattr(run, name) for _, run in runs) for name in ("p50_ms", "p99_ms", "cpu_share")
    )
    sys.stdout.write(
        f"{factor:3.1f} x {good:10,.0f} {share:8.0%} {away:12.1%} {shed:7.1%} {errors:8} {late:5} {lost:11}"
        f" {p50:7.1f} {p99:7.1f} {cpu:8.0%} of a core\n"
    )


if __name__ == "__main__":
    main()

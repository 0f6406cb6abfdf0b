"""Load generators that are not the bottleneck: `h2load` for calls of `Check`, `wrk` for requests to Envoy."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from authz.model.errors import NotStarted
from authz.transport.front import METHOD

_TIMEOUT_S = 120.0
_H2LOAD_DONE = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
_H2LOAD_SPEED = re.compile(r"finished in ([0-9.]+)(ms|s)")
_WRK_SPEED = re.compile(r"Requests/sec:\s+([0-9.]+)")
_WRK_COUNT = re.compile(r"(\d+) requests in")
_WRK_ODD = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_WRK_SHARE = re.compile(r"(50|99)(?:\.000)?%\s+([0-9.]+)(us|ms|s)")
_TO_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


def missing() -> list[str]:
    """Return the generators that this machine lacks."""
    return [name for name in ("h2load", "wrk") if shutil.which(name) is None]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a generator saw."""

    calls: int
    wall_s: float
    p50_us: float = 0.0
    p99_us: float = 0.0
    refused: int = 0  # answers that were not 2xx or 3xx


def calls(socket: Path, frame: Path, count: int) -> Run:
    """Send so many calls of `Check` as fast as they are answered, over connections like Envoy's."""
    text = _h2load(socket, frame, ["-n", str(count), "-c", "2", "-m", "32"])
    _require_all(text, count)
    found = _H2LOAD_SPEED.search(text)
    wall_s = float(found[1]) * (1e-3 if found[2] == "ms" else 1.0) if found else 0.0
    return Run(count, wall_s)


def paced(socket: Path, frame: Path, per_s: int, seconds: int, scratch: Path) -> Run:
    """Send calls at a fixed rate and look at how long each took."""
    log = scratch / "paced.tsv"
    log.unlink(missing_ok=True)
    count = per_s * seconds
    text = _h2load(
        socket, frame, ["-n", str(count), "-c", "1", "-m", "64", f"--rps={per_s}", f"--log-file={log}"]
    )
    _require_all(text, count)
    took = sorted(float(line.split("\t")[2]) for line in log.read_text().splitlines())
    return Run(count, float(seconds), took[len(took) // 2], took[len(took) * 99 // 100])


def requests(url: str, headers: Mapping[str, str], seconds: int) -> Run:
    """Send requests to Envoy as fast as they are answered."""
    named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    text = _run(["wrk", "-t1", "-c32", f"-d{seconds}s", "--latency", *named, url])
    shares = {share: float(value) * _TO_US[unit] for share, value, unit in _WRK_SHARE.findall(text)}
    odd = _WRK_ODD.search(text)
    return Run(
        int(_first(_WRK_COUNT, text)),
        int(_first(_WRK_COUNT, text)) / max(1e-9, float(_first(_WRK_SPEED, text))),
        shares.get("50", 0.0),
        shares.get("99", 0.0),
        int(odd[1]) if odd else 0,
    )


def _h2load(socket: Path, frame: Path, how: list[str]) -> str:
    grpc = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 5S"]
    return _run(
        ["h2load", "-t1", *how, "-B", f"unix:{socket}", "-d", str(frame), *grpc, f"http://authz{METHOD}"]
    )


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        raise NotStarted(f"`{command[0]}` ended with {done.returncode}", done.stderr[-500:])
    return done.stdout


def _require_all(text: str, count: int) -> None:
    found = _H2LOAD_DONE.search(text)
    if found is None or int(found[1]) != count:
        raise NotStarted(f"h2load: not all of {count} calls were answered", text[-500:])


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise NotStarted("wrk printed something unexpected", text[-500:])
    return found[1]

"""A spool that is fed directly: how many records a second go through it into a file, judged by nobody.

    python -m authz.bench.records_feed SPOOL --records N --bytes B --max-bytes M

feeds it: lines as long as a decision's, numbered, a thousand to a block, as a sidecar writes them under load.
A process that ships, like any sidecar's, brings them into a file meanwhile. The spool takes no more than its
bound, and nothing is given up: who is faster waits for who is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from authz.bench import usage
from authz.bench.records_sides import Progress
from authz.model.errors import NotStarted
from authz.model.sink import parse_sink
from authz.record.numbers import Numbers
from authz.record.segment import new_stream
from authz.record.spool import SpoolWriter, make_private
from authz.record.waiting import Take
from authz.shipping import report
from authz.shipping.errand import Errand

LINE_BYTES = 900
_BLOCK = 1000  # records: what comes in 10 ms at 100,000/s
_SPOOL_BYTES = 256 * 1024 * 1024
_ON_FULL = "deny"  # the one way by which a full spool gives nothing up
_FULL_S = 0.001
_END_S = 120.0


@dataclass(frozen=True, slots=True)
class Fed:
    """One way to the file."""

    name: str
    records: int
    per_s: float  # from the first block to the last line in the file
    mib_per_s: float
    written_per_s: float  # how fast the spool took them
    writer_us: float  # CPU per record of who wrote the spool, making the lines included
    shipper_us: float
    shipper_mib: float  # at its largest
    file_mib_per_million: float


def feeds(directory: Path, records: int, progress: Progress) -> list[Fed]:
    """Measure the plain way and, where records are chained, that one."""
    progress(f"records: feeding a spool with {records:,}")
    found = [_fed("spool -> file", directory / "fed", records, None)]
    progress("records: the same, chained")
    key = directory / "chain.pem"
    _make_key(key)
    return [*found, _fed("spool -> file, chained and signed", directory / "fed-chained", records, key)]


def _fed(name: str, place: Path, records: int, chain_key: Path | None) -> Fed:
    place.mkdir()
    spool, file = place / "spool", place / "records.jsonl"
    make_private(spool)
    errand = Errand(
        spool, _SPOOL_BYTES, _ON_FULL, (parse_sink(f"file:{file}"),), chain_key=chain_key, drain_s=_END_S
    )
    with _shipper(errand, place / "shipper.log") as (link, process):
        before_s = usage.cpu_s(process.pid)
        words = [str(spool), "--records", str(records), "--bytes", str(LINE_BYTES)]
        words += ["--max-bytes", str(_SPOOL_BYTES)]
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-m", "authz.bench.records_feed", *words],
            capture_output=True, text=True, timeout=_END_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NotStarted("the spool could not be fed", done.stderr[-500:])
        said = json.loads(done.stdout)
        used_s, peak_mib = _drained(link, process, before_s)
    size = file.stat().st_size
    lines = _count(file)
    took_s = file.stat().st_mtime - said["at_s"]
    file.unlink()
    if lines < records:
        raise NotStarted(f"of {records} records that were fed {lines} arrived")
    return Fed(
        name,
        records,
        records / took_s,
        size / took_s / (1 << 20),
        records / said["wall_s"],
        said["cpu_s"] / records * 1e6,
        used_s / records * 1e6,
        peak_mib,
        size / records * 1e6 / (1 << 20),
    )


@contextmanager
def _shipper(errand: Errand, log: Path) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Start a process that ships, and wait until it says that it does."""
    ours, its = socket.socketpair()
    with ExitStack() as stack:
        stack.enter_context(ours)
        with its, log.open("ab") as errors:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "authz.shipping.main", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(its.fileno(),),
            )
        stack.callback(process.wait)
        stack.callback(process.kill)
        ours.settimeout(_END_S)
        report.send_errand(ours, report.packed(errand))
        if next(report.reports(ours), None) is None:
            raise NotStarted("the process that ships did not start", log.read_text(encoding="utf-8")[-500:])
        yield ours, process


def _drained(link: socket.socket, process: subprocess.Popen[bytes], before_s: float) -> tuple[float, float]:
    """Have everything shipped; return the CPU seconds that it took since, and its most memory in MiB."""
    link.sendall(report.DRAIN)
    for _ in report.reports(link):  # it ends when all is shipped
        pass
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime - before_s, used.ru_maxrss / 1024


def _count(file: Path) -> int:
    with file.open("rb") as lines:
        return sum(line.startswith(b'{"v":1,"time"') for line in lines)


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem)
    path.chmod(0o600)


def line_of(stream: str, size: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the number in a line of this length."""
    before = (
        f'{{"v":1,"time":"2026-11-23T00:00:00.000000Z","decision_id":"01900000-0000-7000-8000-000000000000",'
        f'"sidecar":"fed","stream":"{stream}","seq":'
    )
    after = ',"outcome":"allow","reason":"allowed","status":200,"about":"%s"}\n'
    fill = max(0, size - len(before) - len(after) - 6)
    return before.encode(), (after % ("x" * fill)).encode()


def main() -> None:
    """Feed a spool and print how that went."""
    parser = argparse.ArgumentParser()
    parser.add_argument("spool", type=Path)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--bytes", type=int, default=LINE_BYTES)
    parser.add_argument("--max-bytes", type=int, required=True)
    chosen = parser.parse_args()
    numbers = Numbers(new_stream(time.time_ns() // 1_000_000), "fed")
    writer = SpoolWriter(chosen.spool, numbers, chosen.max_bytes)
    writer.open()
    at_s, began_s, used_s = time.time(), time.monotonic(), time.process_time()
    _feed(writer, numbers, chosen.records, chosen.bytes)
    wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - used_s
    writer.close()
    json.dump({"wall_s": wall_s, "cpu_s": cpu_s, "at_s": at_s}, sys.stdout)


def _feed(writer: SpoolWriter, numbers: Numbers, records: int, size: int) -> None:
    before, after = line_of(numbers.stream, size)
    for first_seq in range(1, records + 1, _BLOCK):
        last_seq = min(records, first_seq + _BLOCK - 1)
        lines = b"".join(before + b"%d" % seq + after for seq in range(first_seq, last_seq + 1))
        numbers.last_seq = numbers.head[0] = last_seq
        take = Take(lines, last_seq - first_seq + 1, first_seq, last_seq)
        while not _wrote(writer, take):
            time.sleep(_FULL_S)


def _wrote(writer: SpoolWriter, take: Take) -> bool:
    try:
        writer.write(take, 0)
    except OSError:  # it is full
        return False
    return True


if __name__ == "__main__":
    main()

"""The shipper as a process: what a spool holds arrives, whatever ends it and however often."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from authz.record.spool import used_bytes
from authz.shipping.errand import Errand
from tests.support.shipper import ShipperProcess, errand, until
from tests.support.spool import StreamWriter, gaps, seqs

LINES = 200  # of a block


def test_what_writers_leave_arrives_and_the_spool_is_empty(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    writer = StreamWriter(spool, segment_bytes=4096)
    written = b"".join(writer.write(10) for _ in range(20))
    with ShipperProcess(errand(spool, f"file:{out}")) as shipper:
        until(lambda: out.exists() and out.read_bytes() == written)
        until(lambda: shipper.said.drained and len(writer.segments()) == 1)
        written += writer.write(5)
        until(lambda: out.read_bytes() == written)
        for number in (signal.SIGTERM, signal.SIGINT):  # they reach it with the whole group
            shipper.process.send_signal(number)
        written += writer.write(5)
        writer.close()
        assert shipper.drain() == 0
    assert out.read_bytes() == written
    assert seqs(written) == list(range(1, 211))
    assert shipper.said.drained
    assert not writer.path.exists()
    changes = {
        (metric, *labels): number for said in shipper.reports for metric, labels, number in said.changes
    }
    assert changes["authz_records_total", "file", "written"] == 210
    assert changes["authz_record_sink_up", "file"] == 1
    assert changes["authz_spool_bytes",] == changes["authz_record_lag_bytes", "file"] == 0


def test_killed_at_any_moment_it_loses_nothing_and_repeats_only_what_it_sent(tmp_path: Path) -> None:
    spool, first, second = tmp_path / "spool", tmp_path / "first", tmp_path / "second"
    spool.mkdir()
    writer = StreamWriter(spool, segment_bytes=40_000)
    chance = random.Random(6)
    for _ in range(4):
        shipper = ShipperProcess(errand(spool, f"file:{first}", f"file:{second}"))
        with shipper:
            until(lambda: bool(shipper.reports))  # noqa: B023 - asked at once
            for _ in range(20):
                writer.write(LINES, size=100)
                time.sleep(chance.uniform(0, 0.005))
    writer.close()
    with ShipperProcess(errand(spool, f"file:{first}", f"file:{second}")) as shipper:
        assert shipper.drain() == 0
    for out in (first, second):
        lines = out.read_bytes().splitlines(keepends=True)
        once = b"".join(dict.fromkeys(lines))
        assert seqs(once) == list(range(1, writer.last_seq + 1)), "in order, and alike to the byte"
        assert gaps(once) == []
    assert not writer.path.exists()


def test_whoever_started_it_is_killed_and_what_is_left_is_shipped_all_the_same(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    with ShipperProcess(errand(spool, f"file:{out}")) as shipper:
        until(lambda: bool(shipper.reports))
        writer = StreamWriter(spool)
        written = writer.write(1000)
        writer.note(1000, promised=3)
        writer.kill()
        assert shipper.hang_up() == 0
    lines = out.read_bytes()
    assert lines.startswith(written)
    (gap,) = gaps(lines)
    assert (gap["first_seq"], gap["last_seq"], gap["why"]) == (1001, 1003, "killed")
    assert not writer.path.exists()


def test_a_sink_that_is_down_holds_up_no_other_and_gets_everything_later(tmp_path: Path) -> None:
    spool, up, down = tmp_path / "spool", tmp_path / "up", tmp_path / "there" / "down"
    spool.mkdir()
    writer = StreamWriter(spool)
    written = writer.write(500)
    with ShipperProcess(errand(spool, f"file:{up}", f"file:{down}")) as shipper:
        until(lambda: up.exists() and up.read_bytes() == written)
        until(lambda: [state.up for state in shipper.said.sinks] == [True, False])
        assert shipper.said.sinks[1].why
        assert shipper.said.sinks[1].waiting >= len(written)
        down.parent.mkdir()
        until(lambda: down.exists() and down.read_bytes() == written)
        writer.close()
        assert shipper.drain() == 0


def test_with_a_sink_that_stays_down_the_end_comes_in_time_and_the_rest_stays(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "missing" / "records"
    spool.mkdir()
    writer = StreamWriter(spool)
    written = writer.write(10)
    writer.close()
    orders = errand(spool, f"file:{out}")
    short = Errand(spool, orders.spool_bytes, "drop_allows", orders.sinks, drain_s=0.3)
    with ShipperProcess(short) as shipper:
        until(lambda: bool(shipper.said.sinks) and not shipper.said.sinks[0].up)
        assert shipper.drain() == 0
        assert not shipper.said.drained
        assert "records are left in the spool" in shipper.kill()
    out.parent.mkdir()
    with ShipperProcess(orders) as shipper:
        assert shipper.drain() == 0
    assert out.read_bytes() == written


def test_a_full_spool_loses_its_oldest_allows_and_says_so(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "missing" / "records"
    spool.mkdir()
    writer = StreamWriter(spool, segment_bytes=20_000)
    orders = errand(spool, f"file:{out}", spool_bytes=400_000)
    with ShipperProcess(orders) as shipper:
        for _ in range(100):
            writer.write_mixed(["allow"] * 40 + ["deny"], size=100)
        until(lambda: 0 < used_bytes(spool) < 0.9 * 400_000)
        out.parent.mkdir()
        writer.close()
        assert shipper.drain() == 0
    lines = out.read_bytes()
    arrived = seqs(lines)
    assert arrived == sorted(arrived)
    assert set(range(41, writer.last_seq + 1, 41)) <= set(arrived), "refusals are kept in preference"
    assert {gap["why"] for gap in gaps(lines)} == {"spool_full"}
    assert len(arrived) + sum(gap["count"] for gap in gaps(lines)) == writer.last_seq
    assert sum(gap["allows"] for gap in gaps(lines)) == sum(gap["count"] for gap in gaps(lines))


def test_two_shippers_never_ship_from_one_spool(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    orders = errand(spool, f"file:{out}")
    hasty = Errand(
        spool, orders.spool_bytes, "drop_allows", orders.sinks, drain_s=-2.0
    )  # it waits for nobody
    with ShipperProcess(orders) as first:
        until(lambda: bool(first.reports))
        with ShipperProcess(hasty) as second:
            assert second.ended() == 3
            assert "is still shipped by another authz" in second.said.cannot


def test_a_moved_file_is_opened_anew_when_it_is_told(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    writer = StreamWriter(spool)
    first = writer.write(1)
    with ShipperProcess(errand(spool, f"file:{out}")) as shipper:
        until(lambda: out.exists() and out.read_bytes() == first)
        out.rename(tmp_path / "moved")
        shipper.process.send_signal(signal.SIGHUP)
        second = writer.write(1)
        until(lambda: out.exists() and out.read_bytes() == second)
    assert (tmp_path / "moved").read_bytes() == first


def test_it_loads_nothing_that_takes_much_memory() -> None:
    heavy = (
        "pydantic",
        "prometheus_client",
        "rich",
        "typer",
        "redis",
        "confluent_kafka",
        "grpc",
        "cryptography",
    )
    loaded = f"[name for name in {heavy} if name in sys.modules]"
    script = f"import sys, authz.shipping.main, authz.shipping.file; print({loaded})"
    said = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_it_holds_little_memory_and_says_how_much(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    writer = StreamWriter(spool)
    for _ in range(20):
        writer.write(1000, size=700)
    with ShipperProcess(errand(spool, f"file:{out}")) as shipper:
        until(lambda: shipper.said.drained)
        assert 5e6 < shipper.said.resident_bytes < 60e6

"""The shipper as a process: what a spool holds arrives, whatever ends it and however often."""

from __future__ import annotations

from pathlib import Path

from tests.support.shipper import ShipperProcess, errand, until
from tests.support.spool import StreamWriter, seqs


def test_what_writers_leave_arrives_and_the_spool_is_empty(tmp_path: Path) -> None:
    spool, out = tmp_path / "spool", tmp_path / "records"
    spool.mkdir()
    writer = StreamWriter(spool, segment_bytes=4096)
    written = b"".join(writer.write(10) for _ in range(20))
    with ShipperProcess(errand(spool, f"file:{out}")) as shipper:
        until(lambda: out.exists() and out.read_bytes() == written)
        written += writer.write(5)
        until(lambda: out.read_bytes() == written)
        written += writer.write(5)
        writer.close()
        assert shipper.drain() == 0
    assert out.read_bytes() == written
    assert seqs(written) == list(range(1, 211))
    assert shipper.said.drained
    assert not writer.path.exists()

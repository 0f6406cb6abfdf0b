"""Records in a spool, damaged or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.history.in_spool import SpoolSource
from authz.history.line import Chunk, Flaw
from authz.history.source import Item, Note
from authz.model.errors import ConfigError
from authz.record.segment import encode_block, segment_name
from tests.support.lines import decision, gap

EARLIER, LATER = "1a206ddce3eb2ca0", "1a206ddce3eb2ca1"


def block(*numbers: int) -> bytes:
    lines = b"".join(map(decision, numbers))
    return encode_block(lines, len(numbers), numbers[0], numbers[-1], 0)


def spool(path: Path, **streams: list[bytes]) -> Path:
    """Write segments, each of the numbers that its first block has."""
    for name, segments in streams.items():
        home = path / name.removeprefix("s")
        home.mkdir(parents=True)
        for number, data in enumerate(segments):
            (home / segment_name(number * 10 + 1)).write_bytes(data)
        (home / "head").write_bytes(b"\0" * 512)
    return path


def read(path: Path) -> tuple[bytes, list[str]]:
    items: list[Item] = list(SpoolSource(str(path)).read())
    data = b"".join(item.data for item in items if isinstance(item, Chunk))
    said = [item.what for item in items if isinstance(item, Flaw | Note)]
    return data, said


def test_streams_are_read_in_their_order(tmp_path: Path) -> None:
    path = spool(
        tmp_path / "p", **{f"s{LATER}": [block(1)], f"s{EARLIER}": [block(1, 2) + block(3), block(4)]}
    )
    assert read(path) == (b"".join(map(decision, (1, 2, 3, 4, 1))), [])
    source = SpoolSource(str(path))
    assert source.total == sum(one.stat().st_size for one in path.rglob("*.seg"))
    assert source.read_back() is None
    assert "follow a sink" in source.cannot_follow()
    assert source.poll(0.1) == []


def test_what_blocks_do_not_cover_is_told(tmp_path: Path) -> None:
    path = spool(tmp_path / "p", **{f"s{EARLIER}": [block(1), block(40)]})
    assert read(path)[1] == [
        f"38 records are missing in the stream {EARLIER}, after number 1: damaged, or given up"
    ]


def test_a_block_of_gaps_covers_what_it_counts(tmp_path: Path) -> None:
    gaps = encode_block(gap(2, 3, 2), 1, 2, 3, 0)
    path = spool(tmp_path / "p", **{f"s{EARLIER}": [block(1) + gaps + block(4)]})
    assert read(path) == (decision(1) + gap(2, 3, 2) + decision(4), [])


def test_a_damaged_block_is_passed_over_and_told(tmp_path: Path) -> None:
    bad = bytearray(block(2))
    bad[60] ^= 1
    path = spool(
        tmp_path / "p", **{f"s{EARLIER}": [block(1) + bytes(bad) + block(3), b"AZR1garbage" + block(4)]}
    )
    data, said = read(path)
    assert data == decision(1) + decision(3) + decision(4)
    assert said.count("a block is damaged") == 2
    assert any("1 record is missing" in text for text in said)


def test_the_end_of_the_last_segment_may_be_on_its_way(tmp_path: Path) -> None:
    path = spool(tmp_path / "p", **{f"s{EARLIER}": [block(1) + block(2)[:70]]})
    assert read(path) == (decision(1), [])


def test_segments_that_are_shipped_meanwhile_are_no_fault(tmp_path: Path) -> None:
    path = spool(tmp_path / "p", **{f"s{EARLIER}": [block(1), block(11)]})
    source = SpoolSource(str(path))
    (path / EARLIER / segment_name(1)).unlink()
    assert [type(item) for item in source.read()] == [Chunk]


def test_what_is_no_spool_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no spool; name the files in it"):
        SpoolSource(str(tmp_path))
    with pytest.raises(ConfigError, match="cannot be read: no such"):
        SpoolSource(str(tmp_path / "nowhere"))
    (tmp_path / "positions").mkdir()
    assert read(tmp_path) == (b"", [])

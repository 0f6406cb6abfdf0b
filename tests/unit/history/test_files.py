"""Files of records: plain, compressed, torn, foreign; from either end; while they grow."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from authz.history import cutting
from authz.history.files import FileSource, in_order
from authz.history.line import Chunk, Flaw
from authz.history.source import Item, Note
from authz.model.errors import ConfigError
from tests.support.lines import decision, written

MANY = [decision(number) for number in range(60)]


def whole(items: list[Item]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk))


def flaws(items: list[Item]) -> list[str]:
    return [f"{item.place}: {item.what}" for item in items if isinstance(item, Flaw)]


def read(path: Path) -> list[Item]:
    source = FileSource(str(path))
    try:
        return list(source.read())
    finally:
        source.close()


def test_a_plain_file_is_read_from_either_end(tmp_path: Path) -> None:
    path = written(tmp_path / "f", *MANY)
    source = FileSource(str(path))
    assert whole(list(source.read())) == b"".join(MANY)
    assert source.done == source.total == path.stat().st_size
    back = source.read_back()
    assert back is not None
    assert whole(list(back)[::-1]) == b"".join(MANY)
    source.close()


def test_gzip_is_read_whatever_it_is_called_with_all_its_members(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(b"".join(MANY[:30])) + gzip.compress(b"".join(MANY[30:])) + b"\0" * 100)
    items = read(path)
    assert (whole(items), flaws(items)) == (b"".join(MANY), [])
    assert FileSource(str(path)).read_back() is None
    assert "no plain file" in FileSource(str(path)).cannot_follow()


def test_compressed_bombs_come_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"x" * 50_000_000 + b"\n" + MANY[0]))
    items = read(path)
    assert whole(items) == MANY[0]
    assert len(flaws(items)) == 1
    source = FileSource(str(path))
    assert max(len(block) for block in source._inflated() if isinstance(block, bytes)) <= cutting.BLOCK_BYTES


@pytest.mark.parametrize(("cut", "why"), [(slice(0, -20), "torn off"), (slice(0, 2), "torn off")])
def test_gzip_that_does_not_end_gives_what_there_is(tmp_path: Path, cut: slice, why: str) -> None:
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"".join(MANY))[cut])
    items = read(path)
    assert b"".join(MANY).startswith(whole(items))
    assert any(why in flaw for flaw in flaws(items))


def test_gzip_that_is_damaged_gives_what_comes_before(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(b"".join(MANY)))
    data[40:60] = bytes(20)
    items = read(written(tmp_path / "f.gz", bytes(data)))
    assert any("damaged" in flaw for flaw in flaws(items))
    assert in_order([FileSource(str(tmp_path / "f.gz"))])[0].first_time() in (
        "",
        "2026-11-23T05:25:00.000000Z",
    )


@pytest.mark.parametrize(
    ("start", "program"), [(b"\x28\xb5\x2f\xfd", "zstdcat"), (b"\xfd7zXZ\0", "xzcat"), (b"BZh9", "bzcat")]
)
def test_other_compression_is_named_with_what_reads_it(tmp_path: Path, start: bytes, program: str) -> None:
    with pytest.raises(ConfigError, match=program):
        FileSource(str(written(tmp_path / "f", start)))


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        FileSource(str(tmp_path / "f"))
    with pytest.raises(ConfigError, match="is no name of a file"):
        FileSource("a\0b")
    with pytest.raises(ConfigError, match=r"`.*\\x1b\[1m` cannot be read"):
        FileSource(str(tmp_path / "\x1b[1m"))


def test_a_torn_end_is_told_from_either_end(tmp_path: Path) -> None:
    path = written(tmp_path / "f", *MANY[:3], MANY[3][:50])
    assert flaws(read(path)) == [
        f"{path}, line 4: it is torn off: the end of the file comes in the middle of it"
    ]


def test_rotated_files_are_read_the_oldest_first(tmp_path: Path) -> None:
    newest = written(tmp_path / "r", *MANY[40:])
    middle = written(tmp_path / "r.1", *MANY[20:40])
    oldest = tmp_path / "r.2.gz"
    oldest.write_bytes(gzip.compress(b"".join(MANY[:20])))
    odd = written(tmp_path / "odd", b"garbage\n")
    sources = in_order([FileSource(str(path)) for path in (newest, middle, oldest, odd)])
    assert [source.path for source in sources] == [str(odd), str(oldest), str(middle), str(newest)]


def test_a_pipe_is_read_as_it_comes() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, MANY[0])
    source = FileSource(f"/dev/fd/{ours}")
    items = source.read()
    os.write(theirs, MANY[1] + MANY[2][:10])
    first = [next(items), next(items)]
    os.write(theirs, MANY[2][10:])
    os.close(theirs)
    assert whole([*first, *items]) == b"".join(MANY[:3])
    assert source.read_back() is None
    source.close()
    os.close(ours)


def test_a_fifo_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert read(tmp_path / "fifo") == []


class Followed:
    """A file that is followed, without a clock."""

    def __init__(self, path: Path) -> None:
        self.waited = 0
        self.source = FileSource(str(path), self._wait)

    def _wait(self, seconds: float) -> None:
        assert 0 < seconds <= 0.5
        self.waited += 1

    def poll(self) -> tuple[bytes, list[str]]:
        items = self.source.poll(0.5)
        return whole(items), [item.what for item in items if isinstance(item, Note)] + flaws(items)


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def test_what_is_appended_is_followed_from_where_reading_ended(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0], MANY[1][:30])
    followed = Followed(path)
    back = followed.source.read_back()
    assert back is not None
    assert whole(list(back)) == MANY[0]
    assert followed.poll() == (b"", [])
    append(path, MANY[1][30:], MANY[2][:10])
    assert followed.poll() == (MANY[1], [])
    assert followed.poll() == (b"", [])
    append(path, MANY[2][10:])
    assert followed.poll() == (MANY[2], [])
    assert followed.waited == 2
    followed.source.close()


def test_a_file_that_is_put_aside_is_read_to_its_end_and_the_new_one_followed(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0])
    followed = Followed(path)
    assert followed.poll() == (b"", [])
    append(path, MANY[1])
    path.rename(tmp_path / "f.1")
    append(tmp_path / "f.1", MANY[2])
    assert followed.poll() == (MANY[1] + MANY[2], [])  # the new one is not there yet
    append(tmp_path / "f.1", MANY[3])
    assert followed.poll() == (MANY[3], [])
    written(path, MANY[4])
    data, said = followed.poll()
    assert (data, len(said)) == (MANY[4], 1)
    append(tmp_path / "f.1", MANY[5])  # its writer was not told yet
    append(path, MANY[6])
    assert followed.poll() == (MANY[5] + MANY[6], [])
    followed.source.close()


def test_a_file_that_was_moved_and_made_anew_between_two_looks_loses_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0])
    followed = Followed(path)
    followed.poll()
    append(path, MANY[1])
    path.rename(tmp_path / "f.1")
    written(path, MANY[2])
    assert followed.poll() == (MANY[1] + MANY[2], [f"`{path}` was put aside: the new one is followed"])
    followed.source.close()


def test_files_that_come_and_go_between_two_looks_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0])
    followed = Followed(path)
    followed.poll()
    append(path, MANY[1])
    for number in (2, 3, 4):  # three rotations at once
        for aside in range(number - 2, 0, -1):
            (tmp_path / f"f.{aside}").rename(tmp_path / f"f.{aside + 1}")
        path.rename(tmp_path / "f.1")
        written(path, MANY[number])
    assert followed.poll()[0] == b"".join(MANY[1:5])
    assert followed.poll() == (b"", [])
    followed.source.close()


def test_where_nobody_knows_what_came_between_the_new_one_is_followed(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0])
    followed = Followed(path)
    followed.poll()
    path.unlink()
    written(tmp_path / "f.1", MANY[1])
    written(path, MANY[2])
    assert followed.poll()[0] == MANY[2]
    followed.source.close()


def test_old_files_are_let_go_of_in_the_end(tmp_path: Path) -> None:
    path = written(tmp_path / "f", MANY[0])
    followed = Followed(path)
    followed.poll()
    append(path, MANY[1][:20])
    path.rename(tmp_path / "f.1")
    written(path)
    said = [text for _ in range(60) for text in followed.poll()[1]]
    assert len(said) == 2
    assert "torn off" in said[1]
    following = followed.source._following
    assert following is not None
    assert not following._old
    followed.source.close()


def test_a_file_that_is_cut_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = written(tmp_path / "f", *MANY[:3])
    followed = Followed(path)
    followed.poll()
    path.write_bytes(MANY[4])
    data, said = followed.poll()
    assert (data + followed.poll()[0], said) == (
        MANY[4],
        [f"`{path}` was cut: it is read from its beginning"],
    )
    followed.source.close()


def test_a_file_that_shrinks_while_it_is_read_is_no_crash(tmp_path: Path) -> None:
    path = written(tmp_path / "f", *MANY)
    source = FileSource(str(path))
    back = source.read_back()
    path.write_bytes(MANY[0])
    assert back is not None
    assert whole(list(back)) in (MANY[0], b"")
    source.close()


def test_standard_input_is_followed_by_search() -> None:
    ours, theirs = os.pipe()
    kept = os.dup(0)
    os.dup2(ours, 0)
    try:
        os.write(theirs, MANY[0])
        os.close(theirs)
        source = FileSource("-")
        assert whole(list(source.read())) == MANY[0]
        assert "search -" in source.cannot_follow()
        assert source.name == "standard input"
        source.close()
        os.fstat(0)  # which is not ours to close
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(ours)

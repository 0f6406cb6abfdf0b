from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from authz.model.errors import ConfigError
from authz.model.sink import parse_sink
from authz.record.sinks import FileSink, StdoutSink, open_sink


def test_standard_output_takes_bytes_as_they_are() -> None:
    reader, writer = os.pipe()
    sink = StdoutSink(writer)
    assert sink.write(memoryview(b"a\n")) == 2
    sink.reopen()
    assert os.read(reader, 10) == b"a\n"
    os.close(reader)
    os.close(writer)


def test_a_file_is_appended_to_and_not_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_text("before\n")
    path.unlink()
    first = FileSink(path)
    first.write(memoryview(b"1\n"))
    FileSink(path).write(memoryview(b"2\n"))
    assert path.read_bytes() == b"1\n2\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0


def test_a_moved_file_is_left_at_the_end_of_a_line_when_asked(tmp_path: Path) -> None:
    path, moved = tmp_path / "records", tmp_path / "records.1"
    sink = FileSink(path)
    sink.write(memoryview(b"one\ntw"))
    path.rename(moved)
    sink.reopen()
    sink.write(memoryview(b"o\n"))
    sink.write(memoryview(b"three\n"))
    assert moved.read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b"three\n"


def test_a_file_that_cannot_be_opened_anew_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = FileSink(folder / "records")
    folder.rename(tmp_path / "old")
    sink.reopen()
    with pytest.raises(OSError, match="No such file"):
        sink.write(memoryview(b"1\n"))
    folder.mkdir()
    sink.write(memoryview(b"1\n"))
    assert (folder / "records").read_bytes() == b"1\n"


@pytest.mark.parametrize("kind", ["fifo", "directory", "missing"])
def test_what_cannot_be_a_record_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = path / "records"
    with pytest.raises(ConfigError, match=r"record_sink: .* name a file that this user may write"):
        open_sink(parse_sink(f"file:{path}"))


def test_the_address_says_which(tmp_path: Path) -> None:
    assert isinstance(open_sink(parse_sink("stdout")), StdoutSink)
    assert isinstance(open_sink(parse_sink(f"file:{tmp_path}/r")), FileSink)

"""One decision by its id."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from authz.history import cutting
from authz.history.files import FileSource
from authz.history.one import decision_id, find_one, is_whole, made_at
from authz.model.errors import ConfigError
from tests.support import lines
from tests.support.lines import decision, event, gap, written

MANY = [decision(number) for number in range(50)]


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_found_by_its_id_and_by_the_end_of_it(tmp_path: Path, packed: bool) -> None:
    data = b"".join([*MANY, gap(50, 51, 2), event(52), b"torn"])
    path = written(tmp_path / "f", gzip.compress(data) if packed else data)
    for wanted in (lines.decision_id(7), lines.decision_id(7)[-12:], lines.decision_id(7)[-8:]):
        found = find_one(FileSource(str(path)), wanted)
        assert found is not None
        assert found.line + b"\n" == MANY[7]
    assert find_one(FileSource(str(path)), lines.decision_id(99)) is None


def test_of_two_the_last_is_shown_and_others_are_not_mistaken_for_it(tmp_path: Path) -> None:
    wanted = lines.decision_id(7)
    other = decision(8, path=f'/{wanted}"'.replace('"', '\\"'))  # a path that looks like an id
    later = decision(7, customer="later")
    path = written(tmp_path / "f", MANY[7], later, other)
    found = find_one(FileSource(str(path)), wanted)
    assert found is not None
    assert found.line + b"\n" == later


def test_files_are_searched_from_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", 4096)
    source = FileSource(str(written(tmp_path / "f", *MANY)))
    assert find_one(source, lines.decision_id(48)) is not None
    assert source.done <= 2 * 4096 < source.total


def test_ids() -> None:
    assert decision_id(" 01A206DD-d305-7cd3-bec7-000000000007") == lines.decision_id(7)
    assert is_whole(lines.decision_id(7))
    assert not is_whole("00000007")
    for wrong in ("", "1234567", "hello-there", "\x1b[1m", "0" * 37):
        with pytest.raises(ConfigError, match="is no id of a decision"):
            decision_id(wrong)


def test_an_id_tells_when_it_was_made() -> None:
    assert made_at(lines.decision_id(7)).startswith("2026-11-23T05:25:30.501")
    assert made_at("00000007") == ""
    assert made_at("01a206dd-d305-4cd3-bec7-000000000007") == ""  # another version has no time

from __future__ import annotations

import os
from pathlib import Path

import pytest

from authz.cli.wholefile import write_whole
from authz.model.errors import ConfigError


def test_what_was_there_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text("old")
    with file.open() as reader:
        write_whole(file, "new\n")
        assert reader.read() == "old"  # another file took its name
    assert file.read_text() == "new\n"
    assert [one.name for one in tmp_path.iterdir()] == ["envoy.yaml"]


def test_others_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_what_cannot_be_replaced_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ConfigError, match="/a: is a directory; name a file"):
        write_whole(tmp_path / "a", "text")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]

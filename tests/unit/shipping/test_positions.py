from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

import authz.shipping.positions as positions_module
from authz.model.sink import parse_sink
from authz.shipping.positions import Position, Positions, file_name

STREAM = "1" * 16


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "file")
    positions.set(STREAM, Position(7, "state", "-", end=True))
    positions.tips["sidecar"] = "tip"
    assert positions.save()
    again = Positions(tmp_path / "file")
    assert again.get(STREAM) == Position(7, "state", "-", end=True)
    assert again.saved == again.loaded == {STREAM: Position(7, "state", "-", end=True)}
    assert again.tips == {"sidecar": "tip"}


def test_what_was_not_kept_is_not(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "file")
    positions.set(STREAM, Position(7))
    assert positions.saved == {}
    assert Positions(tmp_path / "file").get(STREAM) is None


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"streams":{"x":{"done":"1"}}}', b"\xff\xfe", bytes(100)]
)
def test_a_file_that_does_not_read_costs_repetition_alone(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with capture_logs() as logs:
        positions = Positions(path)
    assert positions.saved == {}
    assert len(logs) == 1
    positions.set(STREAM, Position(1))
    assert positions.save()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b'{"streams":{"1111111111111111":{"done":5}}}')
    (tmp_path / "file").symlink_to(tmp_path / "real")
    with capture_logs():
        assert Positions(tmp_path / "file").saved == {}


def test_names_that_are_no_streams_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"streams":{"../../etc":{"done":5},"1111111111111111":{"done":5}}}')
    assert set(Positions(tmp_path / "file").saved) == {STREAM}


def test_what_is_no_more_is_forgotten(tmp_path: Path) -> None:
    positions = Positions(tmp_path / "file")
    for name in "123":
        positions.set(name * 16, Position(1))
    positions.keep_only(frozenset({"1" * 16, "2" * 16}))
    positions.forget(["2" * 16])
    assert positions.save()
    assert set(Positions(tmp_path / "file").saved) == {"1" * 16}


@pytest.mark.parametrize(("number", "counts"), [(errno.ENOSPC, True), (errno.EROFS, False)])
def test_on_a_full_disk_what_arrived_may_be_deleted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, counts: bool
) -> None:
    positions = Positions(tmp_path / "file")
    positions.set(STREAM, Position(7))

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(positions_module, "_write", refused)
        assert not positions.save()
        assert not positions.save()
    assert (STREAM in positions.saved) is counts
    assert len(logs) == 1
    assert positions.save()


def test_another_address_has_another_file() -> None:
    one, two = parse_sink("http://a:1/x"), parse_sink("http://a:1/y")
    assert file_name(one) != file_name(two)
    assert file_name(one).startswith("http-")
    assert file_name(one, "traces").startswith("traces-")

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from authz.cli.explain_record import from_debug, from_file
from authz.model.errors import ConfigError
from authz.transport.ops import OpsServer
from authz.transport.routes import records

ID = "01a2043b-aabe-77e7-96c4-0bc73c9bc3e5"
LINE = b'{"v":1,"decision_id":"' + ID.encode() + b'"}\n'


@pytest.fixture(params=["unix:debug.sock", "127.0.0.1:0"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpsServer]:
    monkeypatch.chdir(tmp_path)
    server = OpsServer(request.param, {"/logs/": records({ID: LINE}.get)})
    server.start()
    yield server
    server.close()


def test_a_sidecar_is_asked_for_a_recent_record(server: OpsServer) -> None:
    assert from_debug(ID, str(server.address)) == LINE
    assert from_debug(ID[:-1] + "0", str(server.address)) is None


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--debug: nobody answers at unix:"):
        from_debug(ID, f"unix:{tmp_path}/none.sock")
    with pytest.raises(ConfigError, match=r"--debug: nobody answers at 127\.0\.0\.1:1: "):
        from_debug(ID, "127.0.0.1:1")


def test_of_several_records_of_a_decision_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(b"\xff junk\n" + LINE + b"{}\n" + LINE.replace(b'"v":1', b'"v":2'))
    assert from_file(ID, str(file)) == LINE.replace(b'"v":1', b'"v":2')
    assert from_file(ID[:-1] + "0", str(file)) is None


def test_a_directory_is_no_file_of_records(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        from_file(ID, str(tmp_path))

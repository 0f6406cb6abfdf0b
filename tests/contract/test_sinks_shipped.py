"""A sidecar that ships to files, HTTP and OTLP at once: each has every record, to the byte."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.contract.test_records_shipped import PATIENCE_S, Scene, accounted, until, wanted
from tests.support.certificates import Authority
from tests.support.collector import collector, server_context
from tests.support.otlp_receiver import Receiver, otlp_receiver

TOKEN = "token-of-this-sidecar"


def _bodies(receiver: Receiver) -> list[bytes]:
    return [record.body.string_value.encode() for record in receiver.log_records()]


def _age(path: Path) -> int:
    """How often it was put aside since: PATH.1 once, PATH itself never."""
    number = path.suffix.removeprefix(".")
    return int(number) if number.isdecimal() else 0


def test_each_kind_of_sink_has_every_line_as_it_stands(tmp_path: Path) -> None:
    ca = Authority()
    cert, key = ca.server().written(tmp_path, "server")
    with (
        collector(server_context(cert, key)) as there,
        otlp_receiver() as over_grpc,
        otlp_receiver() as over_http,
    ):
        sinks = (f"file:{tmp_path}/records.jsonl", there.url, over_grpc.grpc_url, over_http.http_url)
        scene = Scene(
            tmp_path,
            ",".join(sinks),
            AUTHZ_RECORD_CA=str(ca.written(tmp_path)),
            AUTHZ_RECORD_HTTP_TOKEN=TOKEN,
            AUTHZ_RECORD_FILE_MAX_BYTES="20000",
            AUTHZ_RECORD_FILE_KEEP="100",
        )
        with scene.started() as sidecar:
            for first in range(0, 300, 50):
                scene.ask(first, 50)
            sidecar.send(signal.SIGTERM)
            assert sidecar.wait(PATIENCE_S) == 0
        files = sorted(tmp_path.glob("records.jsonl*"), key=_age, reverse=True)
        filed = b"".join(path.read_bytes() for path in files).splitlines()
        assert len(files) > 1
        assert filed == there.lines() == _bodies(over_grpc) == _bodies(over_http)
        assert accounted([json.loads(line) for line in filed]) == wanted(300)
        assert {one.headers["authorization"] for one in there.posted} == {f"Bearer {TOKEN}"}
        shown = (tmp_path / "log").read_text() + (tmp_path / "out").read_text()
        assert TOKEN not in shown


def test_a_file_that_somebody_moves_while_it_is_written_loses_nothing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"file:{tmp_path}/records.jsonl", AUTHZ_RECORD_FILE_MAX_BYTES=str(1 << 30))
    moved = [tmp_path / f"moved-{turn}" for turn in range(3)]
    with scene.started() as sidecar:
        for turn, name in enumerate(moved):
            scene.ask(50 * turn, 50)
            until(scene.file.exists, "there is a file")
            scene.file.rename(name)
            sidecar.send(signal.SIGHUP)
        scene.ask(150, 50)
        sidecar.send(signal.SIGTERM)
        assert sidecar.wait(PATIENCE_S) == 0
    lines = b"".join(path.read_bytes() for path in (*moved, scene.file)).splitlines()
    assert accounted([json.loads(line) for line in lines]) == wanted(200)

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from threading import Thread, Timer

import pytest
from structlog.testing import capture_logs

from authz.model.errors import ConfigError
from authz.model.sink import parse_sink
from authz.shipping import main, report
from authz.shipping.errand import Errand
from authz.shipping.main import Talk
from authz.shipping.open import open_sinks
from authz.shipping.report import Report
from authz.shipping.shipper import Shipper, chains, open_spool
from tests.support.shipper import errand, until
from tests.support.spool import StreamWriter, seqs


class Running:
    """A shipper in this process, and the other end of its link."""

    def __init__(self, orders: Errand) -> None:
        self.link, end = socket.socketpair()
        self.reports: list[Report] = []
        self.shipper = Shipper(orders, open_sinks(orders), open_spool(orders, 1.0))
        self.shipper.start()
        self.talk = Talk(end, self.shipper)
        self.result: list[bool] = []
        self._ears = Thread(target=self._hear, daemon=True)
        self._ears.start()
        self._thread = Thread(target=lambda: self.result.append(self.talk.run(orders.drain_s)), daemon=True)
        self._thread.start()
        self._end = end

    def _hear(self) -> None:
        for said in report.reports(self.link):
            self.reports.append(said)

    def end(self) -> bool:
        self._thread.join(10.0)
        closed = self.shipper.close()
        self._end.close()
        self._ears.join(10.0)
        self.link.close()
        return closed


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def running(tmp_path: Path, out: Path) -> Iterator[Running]:
    running = Running(errand(tmp_path / "spool", f"file:{out}"))
    yield running
    if not running.result:
        running.link.sendall(report.DRAIN)
        running.end()


def test_it_ships_reports_and_drains(tmp_path: Path, out: Path, running: Running) -> None:
    writer = StreamWriter(tmp_path / "spool")
    written = writer.write(3)
    until(lambda: out.exists() and out.read_bytes() == written)
    until(lambda: bool(running.reports) and running.reports[-1].drained)
    written += writer.write(3)
    writer.close()
    running.link.sendall(report.DRAIN)
    assert running.end()
    assert running.result == [True]
    assert out.read_bytes() == written
    assert all(said.beat and said.resident_bytes for said in running.reports)
    assert running.reports[-1].sinks[0].name == "file"


def test_a_closed_link_is_the_word_to_drain(tmp_path: Path, out: Path, running: Running) -> None:
    writer = StreamWriter(tmp_path / "spool")
    written = writer.write(3)
    writer.close()
    running.link.shutdown(socket.SHUT_RDWR)
    assert running.end()
    assert running.result == [True]
    assert out.read_bytes() == written


def test_a_file_is_opened_anew_when_the_link_says_so(tmp_path: Path, out: Path, running: Running) -> None:
    writer = StreamWriter(tmp_path / "spool")
    first = writer.write(1)
    until(lambda: out.exists() and out.read_bytes() == first)
    out.rename(tmp_path / "moved")
    running.link.sendall(report.REOPEN[:3])
    running.link.sendall(report.REOPEN[3:])
    second = writer.write(1)
    until(lambda: out.exists() and out.read_bytes() == second)


def test_the_end_does_not_wait_for_who_still_writes(tmp_path: Path, out: Path, running: Running) -> None:
    writer = StreamWriter(tmp_path / "spool")
    writer.write(3)
    running.link.sendall(report.DRAIN)
    assert running.end()
    assert writer.path.exists()


def test_a_thread_that_met_a_bug_ends_the_process(
    tmp_path: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []

    class Ended(Exception):
        """In place of the end of the process."""

    def end(code: int) -> None:
        ended.append(code)
        raise Ended

    monkeypatch.setattr(os, "_exit", end)
    running.shipper.carriers[0].stop()
    running.shipper.carriers[0].join(5.0)
    talk = Talk(running._end, running.shipper)
    with pytest.raises(Ended):
        talk.run(0.0)
    assert ended[0] == main.CRASHED


def test_main_does_the_errand(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, end = socket.socketpair()
    (tmp_path / "spool").mkdir()
    writer = StreamWriter(tmp_path / "spool")
    written = writer.write(2)
    writer.close()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "configure", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["main", str(end.detach())])
    report.send_errand(link, report.packed(errand(tmp_path / "spool", f"file:{out}")))
    link.sendall(report.DRAIN)
    before = threading.excepthook
    try:
        main.main()
        with capture_logs() as logs:
            Thread(target=lambda: int("canary")).start()
            until(lambda: bool(logs))
    finally:
        threading.excepthook = before
    assert (logs[0]["kind"], "canary" in str(logs)) == ("ValueError", False)
    assert out.read_bytes() == written
    *_, last = report.reports(link)
    assert last.drained
    link.close()


def test_what_cannot_be_done_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, end = socket.socketpair()
    (tmp_path / "spool").write_text("a file")
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(main, "configure", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["main", str(end.detach())])
    report.send_errand(link, report.packed(errand(tmp_path / "spool", "stdout")))
    with pytest.raises(SystemExit, match="3"):
        main.main()
    (said,) = report.reports(link)
    assert "record_spool" in said.cannot
    assert "\n" not in said.cannot
    link.close()


def test_nobody_who_gives_an_errand_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    link, end = socket.socketpair()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["main", str(end.detach())])
    link.close()
    main.main()


def test_sinks_are_named_by_kind_and_number(tmp_path: Path) -> None:
    texts = ("stdout", "file:/x", "file:/y", "http://a:1/", "otlp://a:1", "redis://a:1/0/s", "kafka://a:1/t")
    orders = Errand(
        tmp_path,
        1 << 20,
        "drop",
        tuple(map(parse_sink, texts)),
        traces=parse_sink("otlp+http://a:1/v1/traces"),
    )
    names = [sink.name for sink in open_sinks(orders)]
    assert names == ["stdout", "file", "file-2", "http", "otlp", "redis", "kafka", "traces"]


def test_a_sink_that_needs_what_is_not_installed_says_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "authz.shipping.kafka", None)
    with pytest.raises(
        ConfigError, match=r"needs the extra `kafka`; install it with `pip install authz\[kafka\]`"
    ):
        open_sinks(Errand(tmp_path, 1 << 20, "drop", (parse_sink("kafka://a:1/t"),)))


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    assert chains(None) is None
    with pytest.raises(ConfigError, match="record_chain_key"):
        chains(tmp_path / "missing")


def test_a_spool_is_waited_for_as_long_as_told(tmp_path: Path) -> None:
    orders = errand(tmp_path / "spool", "stdout")
    first = open_spool(orders, 0.0)
    with pytest.raises(ConfigError, match="another authz"):
        open_spool(orders, 0.1)
    later = Timer(0.1, first.close)
    later.start()
    open_spool(orders, 5.0).close()
    later.join()


def test_an_errand_that_is_none_is_refused() -> None:
    one, other = socket.socketpair()
    with one, other:
        report.send_errand(one, b"\x80\x04N.")
        with pytest.raises(TypeError):
            report.receive_errand(other)


def test_half_a_line_of_one_that_was_killed_is_no_report() -> None:
    one, other = socket.socketpair()
    with other:
        with one:
            one.sendall(report.encode(Report(drained=True)) + b'\n{"beat":tr')
        assert [said.drained for said in report.reports(other)] == [True]


def test_what_was_shipped_with_a_key_is_a_chain(tmp_path: Path, out: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = tmp_path / "key.pem"
    private = Ed25519PrivateKey.generate()
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    plain = errand(tmp_path / "spool", f"file:{out}")
    orders = Errand(plain.spool, plain.spool_bytes, plain.on_full, plain.sinks, chain_key=key)
    with capture_logs():
        running = Running(orders)
        writer = StreamWriter(tmp_path / "spool")
        writer.write(3)
        writer.close()
        running.link.sendall(report.DRAIN)
        assert running.end()
    lines = out.read_bytes().splitlines()
    assert [b'"kind":"checkpoint"' in line for line in lines] == [True, False, False, False, True]
    assert seqs(b"\n".join(lines[1:4])) == [1, 2, 3]
    assert all(b'"prev":"' in line for line in lines[1:])

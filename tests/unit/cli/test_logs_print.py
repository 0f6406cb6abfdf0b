"""What is printed: lines as they are, harmless where somebody sees them, and how far a search is."""

from __future__ import annotations

import json
import os
import sys
from io import BytesIO, StringIO, TextIOWrapper

import pytest
import typer

from authz.cli.logs_asked import Output
from authz.cli.logs_print import Printer, harmless, politely
from authz.history.line import Chunk, Entry, Flaw, Found, Place, read_line
from authz.history.question import Question
from authz.history.scan import Scan, Tally
from tests.support.lines import decision


class Screen(TextIOWrapper):
    """A terminal."""

    def __init__(self) -> None:
        self.bytes = BytesIO()
        super().__init__(self.bytes, "utf-8")

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode()


class Something:
    """A source that is half read."""

    name, total, done = "records.jsonl", 4_000_000_000, 2_000_000_000


def found(line: bytes) -> Found:
    entry = read_line(line)
    assert isinstance(entry, Entry)
    return Found(line.rstrip(b"\n"), entry)


@pytest.mark.parametrize(
    ("line", "safe"),
    [
        (b'{"a":"b"}', b'{"a":"b"}'),
        (b'{"a":"\xc2\x9b1m\x7f"}', b'{"a":"\\u009b1m\\u007f"}'),
        ('{"a":"\u202e\u2028\U000e0001é"}'.encode(), '{"a":"\\u202e\\u2028\\udb40\\udc01é"}'.encode()),
        (b'{"a":"\x1b"}', b'{"a":"\\u001b"}'),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(line: bytes, safe: bytes) -> None:
    assert harmless(line) == safe


def test_escapes_say_the_same() -> None:
    line = '{"a":"\x9b\u202e\U000e0001"}'
    assert json.loads(harmless(line.encode())) == json.loads(line)
    assert harmless(b'{"a":"\xff"}').decode().isprintable()


def test_lines_are_harmless_on_a_terminal_and_exact_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    line = decision(1, customer="a\x9b")
    Printer(Output.JSON).show([found(line)])
    assert capfdbinary.readouterr().out == line
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    Printer(Output.JSON).show([found(line)])
    assert "a\\u009b" in screen.text()
    Printer(Output.JSON).show([])


def test_progress_is_told_now_and_then_and_taken_off_again(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    times = iter([0.0, 0.1, 2.0, 2.1])
    printer = Printer(Output.JSON, lambda: next(times))
    tally = Tally(lines=1_000_000, matched=3)
    for _ in range(3):
        printer.progress(Something(), tally)  # type: ignore[arg-type]  # as much of a source as is asked
    assert screen.text() == ("\rrecords.jsonl: 2.0 GB of 4.0 GB, 50 %, 500,000 records/s, 3 found\x1b[K")
    printer.note("something")
    assert screen.text().endswith("\r\x1b[Knote: something\n")
    printer.clear()
    assert screen.text().count("\r\x1b[K") == 1


def test_where_nobody_watches_there_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    Printer(Output.JSON, lambda: 9.0).progress(Something(), None)  # type: ignore[arg-type]  # as above
    assert out.getvalue() == ""


def test_a_search_is_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    scan = Scan(Question())
    scan.take(Chunk(decision(1) * 2 + b"x\ny\n", Place("f\x1b", 1)))
    Printer(Output.JSON).sum_up(scan.tally)
    assert capsys.readouterr().err == (
        "2 lines read, 1 found; 1 delivered twice and shown once;"
        " 2 lines unreadable, the first: f\\x1b, line 3: it is no JSON\n"
    )
    scan.take(Flaw(Place("g"), "late"))
    Printer(Output.JSON).flaws(scan.tally)
    assert "3 lines unreadable, the first: f" in capsys.readouterr().err


def test_a_reader_that_has_had_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert Printer(Output.JSON).is_alone()
        with pytest.raises(typer.Exit) as caught, politely():
            sys.stdout.write("x")
        assert caught.value.exit_code == 0


def test_a_file_is_a_reader_that_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert not Printer(Output.JSON).is_alone()
    os.close(ours)
    monkeypatch.setattr(sys, "stdout", StringIO())
    assert not Printer(Output.JSON).is_alone()

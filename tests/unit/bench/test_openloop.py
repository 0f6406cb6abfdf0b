"""The even generator, against a real server that answers everything alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from authz.bench import openloop, subjects
from authz.bench.connection import BROKEN
from authz.bench.frame import frame
from authz.bench.openloop import Run
from authz.model.errors import NotStarted
from authz.proxy.stage import short_directory

CALLS = [frame("a.example.com", f"/{number}") for number in range(3)]


@pytest.fixture
def sockets() -> Iterator[list[Path]]:
    with ExitStack() as stack:
        places = [short_directory(), short_directory()]
        yield [subjects.start_empty(place, stack).socket for place in places]


def test_what_is_due_is_asked_of_every_socket_and_each_end_is_told(sockets: list[Path]) -> None:
    run = Run(sockets, CALLS, 5000, 4)
    found = run.go(500.0, 0.2)
    run.close()
    assert found.sent == found.allowed == found.answered == len(run.samples)
    assert 95 <= found.sent <= 100  # the last ones may come due after the end
    assert (found.errors, found.unanswered, found.refused, found.unavailable) == (0, 0, 0, 0)
    dues = [sample.due_s for sample in run.samples]
    assert max(dues) - min(dues) == pytest.approx((found.sent - 1) / 500.0)
    assert all(sample.took_s > 0 and sample.code == 0 for sample in run.samples)
    assert 0 < found.p50_ms <= found.p99_ms
    assert found.wall_s > max(dues) - min(dues)


def test_closed_it_keeps_so_many_open_and_no_more(sockets: list[Path]) -> None:
    run = Run(sockets, CALLS, 5000, 2)
    found = run.go(0.0, 0.1, closed=8)
    run.close()
    assert found.sent == found.allowed > 8


def test_in_a_process_of_its_own_it_reads_many_calls_of_one_file(sockets: list[Path], tmp_path: Path) -> None:
    calls, trace = tmp_path / "calls", tmp_path / "trace"
    calls.write_bytes(b"".join(CALLS))
    found = openloop.ask(
        sockets, [calls], "--rate", "200", "--seconds", "0.1", "--connections", "2", "--trace", str(trace)
    )
    assert found.allowed == found.sent == len(openloop.traced(trace)) > 0


def test_a_run_is_told_as_json(
    sockets: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls, trace = tmp_path / "calls", tmp_path / "trace"
    calls.write_bytes(CALLS[0])
    words = ["--closed", "2", "--seconds", "0.05", "--connections", "2", "--trace", str(trace)]
    monkeypatch.setattr("sys.argv", openloop.command(sockets, [calls], *words)[2:])
    openloop.main()
    told = json.loads(capsys.readouterr().out)
    assert told["sent"] == told["allowed"] == len(openloop.traced(trace)) > 0


def test_what_may_not_be_open_is_turned_away(sockets: list[Path]) -> None:
    run = Run(sockets, CALLS, 5000, 2)
    found = run.go(20_000.0, 0.1, most=1)
    run.close()
    assert found.turned_away > 0
    assert found.sent == found.allowed


def test_a_file_of_calls_is_split_where_each_ends() -> None:
    assert openloop.split(b"".join(CALLS)) == CALLS
    assert openloop.split(b"") == []


def test_where_nobody_listens_it_says_so(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.write_bytes(CALLS[0])
    with pytest.raises(NotStarted, match="the generator ended with 1"):
        openloop.ask([tmp_path / "nobody.sock"], [calls], "--seconds", "0.1")


def test_a_server_that_goes_leaves_broken_calls_behind() -> None:
    with ExitStack() as stack:
        server = subjects.start_empty(short_directory(), stack)
        run = Run([server.socket], CALLS, 200, 1)
        run._connections[0].ask(1.0, 0)  # never sent
        run.close()
    assert [(sample.due_s, sample.code) for sample in run.samples] == [(1.0, BROKEN)]
    assert run.counts["errors"] == 1


def test_a_share_of_nothing_is_nothing() -> None:
    assert openloop.share([], 0.99) == 0.0
    assert openloop.share([1.0, 2.0, 3.0], 0.5) == 2.0
    assert openloop.share([1.0, 2.0, 3.0], 1.0) == 3.0

"""What a supervisor and a worker say to each other."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from authz.config.settings import load
from authz.wiring import link
from authz.wiring.link import Begin, Question, Report
from authz.wiring.shares import Share
from tests.support.policies import PEPPER


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_worker_learns_everybodys_settings_and_its_share(ends: tuple[socket.socket, socket.socket]) -> None:
    settings = load({"policies": ["p"], "listen": ["unix:/run/a.sock"]}, {"API_KEY_SALT": PEPPER.decode()})
    share = Share(1, 4, 2, 9)
    link.send_begin(ends[0], link.packed(Begin(settings, share)))
    told = link.receive_begin(ends[1])
    assert told == (settings, share)
    assert told.settings.identity.api_key_salt is not None
    assert told.settings.identity.api_key_salt.get_secret_value() == PEPPER


def test_a_supervisor_that_is_gone_before_it_said_anything_is_noticed(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ends[0].sendall(b"\0\0")
    ends[0].close()
    with pytest.raises(EOFError):
        link.receive_begin(ends[1])


def test_what_is_no_beginning_is_refused(ends: tuple[socket.socket, socket.socket]) -> None:
    link.send_begin(ends[0], b"\x80\x04N.")  # None, pickled
    with pytest.raises(TypeError):
        link.receive_begin(ends[1])


def test_questions_arrive_in_pieces() -> None:
    data = b"".join(link.encode(Question(number, "id")) + b"\n" for number in (1, 2))
    found, rest = link.questions(data[:-5])
    assert found == [Question(1, "id")]
    assert link.questions(rest + data[-5:]) == ([Question(2, "id")], b"")


def test_reports_are_whole_or_not_there(ends: tuple[socket.socket, socket.socket]) -> None:
    said = [
        Report(beat=True),
        Report(
            listening=True, ready=True, revision="a", changes=[("m", ("x", "y"), 1.0), ("m", ("z",), None)]
        ),
        Report(answers=3, line='{"path":"\\u2028"}\n'),
    ]
    for report in said:
        ends[0].sendall(link.encode(report) + b"\n")
    ends[0].sendall(b'{"beat":tr')  # killed while it spoke
    ends[0].close()
    assert list(link.reports(ends[1])) == said

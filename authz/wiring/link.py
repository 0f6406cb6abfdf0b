"""What a supervisor and a worker say to each other, over a socket that nobody else can reach.

First the supervisor sends what the worker is: settings, secrets among them, which therefore stand on no
command line and in no file. Then lines of JSON: questions one way, reports the other. A closed end means that
the other process is gone.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Generator
from typing import NamedTuple

import msgspec
from msgspec import Struct

from authz.config.handover import receive_whole, send_whole, whole_lines
from authz.config.settings import Settings
from authz.model.latency import Exemplar
from authz.record.ledger import Change
from authz.wiring.shares import Share


class Begin(NamedTuple):
    """What a worker is told first."""

    settings: Settings
    share: Share


class Question(Struct, frozen=True):
    """What the supervisor wants to know now.

    Args:
        number: comes back in the answer.
        find: a decision whose record is looked for; "": only the numbers.
        buckets: an inquiry in JSON; then no numbers are wanted.
        recent: which recent records are wanted, in JSON; then no numbers are.
    """

    number: int
    find: str = ""
    buckets: str = ""
    recent: str = ""


class Report(Struct, frozen=True, omit_defaults=True):
    """How a worker stands.

    Args:
        beat: every judge made progress since the last such report.
        listening: calls are taken.
        ready, revision, why: see `Readiness`.
        cannot: why it ends: an address that it cannot use; nothing follows.
        answers: number of the question that this answers; 0 for none.
        line: the record that was looked for, or what was asked about buckets or recent records.
        about: see `Readiness`.
        examples: with numbers: the traced checks that stand for buckets of their durations; [] for none.
    """

    beat: bool = False
    listening: bool = False
    ready: bool = False
    revision: str = ""
    why: str = ""
    changes: list[Change] = []
    cannot: str = ""
    answers: int = 0
    line: str = ""
    about: dict[str, str] = {}
    examples: list[Exemplar | None] = []


encode = msgspec.json.Encoder().encode
_question = msgspec.json.Decoder(Question).decode
_report = msgspec.json.Decoder(Report).decode


def send_begin(link: socket.socket, begin: bytes) -> None:
    """Send what `packed` made."""
    send_whole(link, begin)


def packed(begin: Begin) -> bytes:
    """Return it as bytes. The other end is a process of ours, of the same program."""
    return pickle.dumps(begin)


def receive_begin(link: socket.socket) -> Begin:
    """Return what this worker is.

    Raises:
        EOFError: the supervisor is gone.
    """
    begin = pickle.loads(receive_whole(link))  # noqa: S301 - from our own parent, over its own socket
    if not isinstance(begin, Begin):
        raise TypeError("no beginning")
    return begin


def questions(data: bytes) -> tuple[list[Question], bytes]:
    """Return the whole questions in what was received, and the rest."""
    *lines, rest = data.split(b"\n")
    return [_question(line) for line in lines], rest


def reports(link: socket.socket) -> Generator[Report]:
    """Yield what a worker reports until it is gone."""
    yield from map(_report, whole_lines(link))

"""What a shipper and whoever started it say to each other, over a socket that nobody else can reach.

First the errand comes, with secrets that therefore stand on no command line and in no file. Then words go to
the shipper, a line each, and reports come back, a line of JSON each. A closed end means that the other one is
gone.
"""

from __future__ import annotations

import pickle
import socket
from collections.abc import Generator

import msgspec
from msgspec import Struct

from authz.config.handover import receive_whole, send_whole, whole_lines
from authz.record.ledger import Change
from authz.shipping.errand import Errand

DRAIN = b"drain\n"  # nobody writes any more: ship what is left, then end
REOPEN = b"reopen\n"  # as SIGHUP


class SinkState(Struct, frozen=True, omit_defaults=True):
    """How a sink stands.

    Args:
        why: why it is down, in one line; no word of a client's in it.
        waiting: bytes that it has yet to get.
    """

    name: str
    up: bool = True
    why: str = ""
    waiting: int = 0


class Report(Struct, frozen=True, omit_defaults=True):
    """How a shipper stands.

    Args:
        beat: the spool was looked at since the last report.
        changes: see `ledger.Changes`.
        drained: every sink has all that was written.
        cannot: why it ends: a sink that it cannot use; nothing follows.
        resident_bytes: memory that it holds.
    """

    beat: bool = False
    changes: list[Change] = []
    sinks: list[SinkState] = []
    drained: bool = False
    cannot: str = ""
    resident_bytes: int = 0


encode = msgspec.json.Encoder().encode
_report = msgspec.json.Decoder(Report).decode


def packed(errand: Errand) -> bytes:
    """Return it as bytes, for `send_errand`. The other end is a process of ours, of the same program."""
    return pickle.dumps(errand)


def send_errand(link: socket.socket, errand: bytes) -> None:
    """Send what `packed` made."""
    send_whole(link, errand)


def receive_errand(link: socket.socket) -> Errand:
    """Return what this shipper shall do.

    Raises:
        EOFError: whoever started it is gone.
    """
    errand = pickle.loads(receive_whole(link))  # noqa: S301 - from our own parent, over its own socket
    if not isinstance(errand, Errand):
        raise TypeError("no errand")
    return errand


def words(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the whole words in what was received, each with its newline, and the rest."""
    *lines, rest = data.split(b"\n")
    return [line + b"\n" for line in lines], rest


def reports(link: socket.socket) -> Generator[Report]:
    """Yield what a shipper reports until it is gone."""
    yield from map(_report, whole_lines(link))

"""Which node of a Cluster has which key."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from authz.limits.redis.sentinel import as_address
from authz.model.address import Address, TcpAddress

SLOTS = 16_384

NODES_MAX = 1000
"""Masters of one Cluster, as many as its makers recommend. Each costs us a connection and a thread: whoever
names more is not believed. Source: the Cluster specification, "Redis Cluster goals"."""


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what stands in its first braces, if anything does.

    `crc_hqx` is the CRC16 of XMODEM, polynomial 0x1021, from 0. Source: the Cluster specification, "Key
    distribution model" and "Hash tags".
    """
    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class Survey(NamedTuple):
    """Who has what."""

    owners: dict[TcpAddress, list[range]]  # masters, and their slots
    others: frozenset[TcpAddress]  # replicas: they know too who has what


def read_slots(reply: object, asked: Address) -> Survey | None:
    """Read the answer to CLUSTER SLOTS; None where it cannot be read, or nobody has any slot, or too many do.

    Args:
        asked: who said so; a node that does not know its own host leaves it out.
    """
    owners: dict[TcpAddress, list[range]] = {}
    others: set[TcpAddress] = set()
    for entry in reply if isinstance(reply, list) else ():
        match entry:
            case [int(first), int(last), list(master), *replicas] if 0 <= first <= last < SLOTS:
                owner = _named(master, asked)
                if owner is None:
                    return None
                owners.setdefault(owner, []).append(range(first, last + 1))
                others.update(filter(None, (_named(replica, asked) for replica in replicas)))
            case _:
                return None
    if not 0 < len(owners) <= NODES_MAX:
        return None
    return Survey(owners, frozenset([*(others - owners.keys())][:NODES_MAX]))


def read_redirect(text: str, asked: Address) -> tuple[int, TcpAddress] | None:
    """Read `MOVED 3999 127.0.0.1:6381`, or ASK; None where it cannot be read.

    Source: as above, "MOVED Redirection" and "ASK redirection".
    """
    words = text.split(" ")
    if len(words) < 3 or not words[1].isdecimal() or int(words[1]) >= SLOTS:
        return None
    host, _, port = words[2].rpartition(":")
    owner = _named([host.encode("ascii", "replace"), port.encode("ascii", "replace")], asked)
    return None if owner is None else (int(words[1]), owner)


def _named(node: object, asked: Address) -> TcpAddress | None:
    """Read a node's host and port. Redis 7 says nothing, or `?`, for a host that it does not know."""
    if isinstance(node, list) and node and node[0] in (None, b"", b"?"):
        node = [asked.host.encode() if isinstance(asked, TcpAddress) else b"", *node[1:]]
    return as_address(node)


def key_in(ranges: list[range], key: bytes) -> bytes:
    """Return a key that lies in one of these slots: the given one, followed by a tag."""
    return next(found for found in _tagged(key) if any(slot_of(found) in slots for slots in ranges))


def _tagged(key: bytes) -> Iterator[bytes]:
    return (b"%s{%d}" % (key, number) for number in count())

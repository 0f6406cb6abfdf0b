"""The spending script, and what goes in and comes out of it. Its own first lines are the contract."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from struct import pack

from authz.limits.bucket import QUANTA_PER_TOKEN
from authz.limits.redis.session import Script, ScriptCall
from authz.model.limit import Rate, Spend

SCRIPT = files(__package__).joinpath("spend.lua").read_bytes()
SPENDING = Script.of(SCRIPT)

_PROOF = Spend("proof", ("proof",), Rate(1000.0, 1000.0), 1.0)
_NO_FLOORS = pack("<d", 0)

UNREADABLE = -1  # stands for a number of checks, or a debt


def encode(floors: Sequence[float], entries: Sequence[bytes]) -> bytes:
    """Return the script's argument.

    Args:
        floors: for each: index of its key from 1, debt in tokens.
        entries: see `entry`.
    """
    return b"".join(
        [pack(f"<{1 + len(floors)}d", len(floors) // 2, *floors) if floors else _NO_FLOORS, *entries]
    )


def entry(spends: Sequence[Spend], times: int = 1) -> bytes:
    """Return what the script reads of checks that all want the same; their keys are named in this order."""
    return pack("<d", times) + entry_of(spends)


def entry_of(spends: Sequence[Spend]) -> bytes:
    """Return the part of an entry that says nothing about the number of checks."""
    values: list[float] = [len(spends)]
    for spend in spends:
        values += (spend.rate.rate_per_s, spend.rate.burst_tokens, spend.cost)
    return pack(f"<{len(values)}d", *values)


def tokens(quanta: int) -> float:
    """Return a debt in tokens."""
    return quanta / QUANTA_PER_TOKEN


def proof(prefix: str) -> ScriptCall:
    """Return a call that writes, for servers that say that they are well: READONLY and OOM show themselves.

    Args:
        prefix: of every key of the keyspace.
    """
    return ScriptCall(0, (f"{prefix}proof".encode(),), encode([], [entry([_PROOF])]))

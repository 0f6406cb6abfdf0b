"""The spending script, and what goes in and comes out of it. Its own first lines are the contract."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from struct import pack

from authz.limits.bucket import QUANTA_PER_TOKEN
from authz.limits.redis.session import Script, ScriptCall

SCRIPT = files(__package__).joinpath("spend.lua").read_bytes()
SPENDING = Script.of(SCRIPT)

UNREADABLE = -1  # stands for a number of checks, or a debt


def encode(floors: Sequence[float], entries: Sequence[float]) -> bytes:
    """Return the script's argument.

    Args:
        floors: for each: index of its key from 1, debt in tokens.
        entries: as the script reads them.
    """
    return pack(f"<{1 + len(floors) + len(entries)}d", len(floors) // 2, *floors, *entries)


def tokens(quanta: int) -> float:
    """Return a debt in tokens."""
    return quanta / QUANTA_PER_TOKEN


def proof(prefix: str) -> ScriptCall:
    """Return a call that writes, for servers that say that they are well: READONLY and OOM show themselves.

    Args:
        prefix: of every key of the keyspace.
    """
    return ScriptCall(0, (f"{prefix}proof".encode(),), encode([], [1, 1, 1, 1000.0, 1000.0, 1.0]))

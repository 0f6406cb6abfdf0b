"""What an operator asks a running sidecar about its buckets, and what it answers; as JSON."""

from __future__ import annotations

import msgspec
from msgspec import Struct

COUNT_MAX = 1000  # buckets in one answer of one store


class Inquiry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked.

    Args:
        buckets: names; null stands for any value, and none for every bucket.
        limit: only buckets of this limit; "": of any.
        count: at most so many of each store, the fullest first.
        forgive: fill them up.
    """

    buckets: list[list[str | None]] = []
    limit: str = ""
    count: int = 100
    forgive: bool = False


class Row(Struct, frozen=True, omit_defaults=True):
    """One bucket.

    Args:
        name: limit (of one in shadow with `shadow/` before it), name space, values; null: not told. The limit
            alone: what callers share who came when memory was full.
        debt: tokens, when it was last drawn from.
        elapsed_us: since then.
    """

    name: list[str | None]
    digest: str
    debt: float
    elapsed_us: int


class Shelved(Struct, frozen=True, omit_defaults=True):
    """The buckets of one store.

    Args:
        processes: so many share each rate.
        held: how many buckets there are.
    """

    store: str
    processes: int
    held: int
    rows: list[Row]


class Answer(Struct, frozen=True, omit_defaults=True):
    """What one process says.

    Args:
        worker: which it is, -1 where it serves alone.
        limits_off: RATE_LIMIT_ENABLED switched them off.
    """

    revision: str
    worker: int
    stores: list[Shelved]
    limits_off: bool = False


class Answers(Struct, frozen=True, omit_defaults=True):
    """What a sidecar says: each process, and which of them did not answer in time."""

    workers: list[Answer]
    silent: list[int] = []


encode = msgspec.json.Encoder().encode
answer_of = msgspec.json.Decoder(Answer).decode
answers_of = msgspec.json.Decoder(Answers).decode


def inquiry_of(text: bytes) -> Inquiry:
    """Read an inquiry.

    Raises:
        ValueError: it is none; one line.
    """
    try:
        return msgspec.json.decode(text or b"{}", type=Inquiry)
    except msgspec.DecodeError as error:  # not JSON, or of another shape
        raise ValueError(str(error)) from None

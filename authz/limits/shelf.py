"""What operators see of buckets in memory: asked over the debug socket, answered by every process.

SECURITY: a value in a bucket's name may be what a client sent, a credential even. Only values are told that
records tell, too; any other stands in the answer as null, and the digest tells such buckets apart.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from authz.limits.bucket import settle
from authz.limits.inquiry import COUNT_MAX, Inquiry, Row, Shelved
from authz.limits.memory import Held, MemoryLimiter
from authz.limits.redis.keys import Keys
from authz.model.limit import Rate, Store, document_of

_PACED = 256  # buckets looked at between two breaths: some 200 us

# Values of a bucket's name that records show, too; see `record/fields.py`.
TOLD = frozenset(
    {
        "identity.kind",
        "identity.provider",
        "identity.subject",
        "identity.key_id",
        "identity.customer",
        "client.address",
        "client.network",
        "request.method",
        "request.host",
        "request.url_path",
        "request.protocol",
    }
)


class Known(NamedTuple):
    """What is known of a limit from its document.

    Args:
        told: for each value of `per`, whether records tell it, too.
    """

    told: tuple[bool, ...]
    rate: Rate


def _nothing(_: tuple[str, ...]) -> None:
    """What is not remembered elsewhere need not be forgotten there."""


class Shelf(NamedTuple):
    """A store in memory.

    Args:
        processes: returns how many share each rate there now.
        forget: told of each bucket that an operator fills up, so that nobody remembers its debt.
    """

    limiter: MemoryLimiter
    store: Store
    processes: Callable[[], int]
    forget: Callable[[tuple[str, ...]], None] = _nothing


def known_of(sources: Iterable[str], rate: Rate) -> Known:
    """Return what is known of a limit with these expressions as `per`."""
    return Known(tuple([source.strip() in TOLD for source in sources]), rate)


def shelved(
    shelf: Shelf, inquiry: Inquiry, limits: Mapping[str, Known], keys: Keys, pace: Callable[[], None]
) -> Shelved:
    """Answer for one store.

    Args:
        limits: those in force, by name.
        pace: called now and then, so that judging threads have their turn.
    """
    fullest = heapq.nlargest(
        min(inquiry.count, COUNT_MAX),
        _paced(_wanted(shelf.limiter, inquiry), pace),
        key=lambda held: _fullness(held, limits),
    )
    if inquiry.forgive:
        fullest = [held for held in fullest if shelf.limiter.forgive(held.bucket)]
        for bucket in {*_whole(inquiry.buckets), *(held.bucket for held in fullest)}:
            shelf.forget(bucket)
    rows = [
        Row(_told(held.bucket, limits), keys.digest(held.bucket), held.debt, held.elapsed_us)
        for held in fullest
    ]
    return Shelved(shelf.store.value, shelf.processes(), len(shelf.limiter), rows)


def _wanted(limiter: MemoryLimiter, inquiry: Inquiry) -> Iterator[Held]:
    named = [tuple(name) for name in inquiry.buckets]
    whole = _whole(inquiry.buckets)
    if named and len(whole) == len(named):
        found = (limiter.find(name) for name in dict.fromkeys(whole))
        return (held for held in found if held is not None)
    patterns = _by_limit(named)
    return (held for held in limiter.held() if _is_wanted(held.bucket, inquiry.limit, patterns))


def _whole(names: Sequence[Sequence[str | None]]) -> list[tuple[str, ...]]:
    """Return the names that leave nothing open."""
    return [tuple([part or "" for part in name]) for name in names if None not in name]


def _by_limit(names: Sequence[tuple[str | None, ...]]) -> dict[str | None, list[tuple[str | None, ...]]]:
    found: dict[str | None, list[tuple[str | None, ...]]] = {}
    for name in names:
        found.setdefault(name[0] if name else None, []).append(name)
    return found


def _is_wanted(
    bucket: tuple[str, ...], limit: str, patterns: Mapping[str | None, Sequence[tuple[str | None, ...]]]
) -> bool:
    if limit and document_of(bucket[0]) != limit:
        return False
    return not patterns or any(_fits(bucket, name) for name in patterns.get(bucket[0], ()))


def _fits(bucket: tuple[str, ...], pattern: tuple[str | None, ...]) -> bool:
    return len(bucket) == len(pattern) and all(
        want is None or part == want for part, want in zip(bucket, pattern, strict=True)
    )


def _fullness(held: Held, limits: Mapping[str, Known]) -> float:
    """Return which part of the burst is drawn; of a key with a rate of its own about that."""
    debt = settle(held.debt, held.elapsed_us, held.rate_per_s)
    known = limits.get(document_of(held.bucket[0]))
    if known is None:
        return debt / held.rate_per_s
    return debt / known.rate.burst_tokens * (known.rate.rate_per_s / held.rate_per_s)


def _told(bucket: tuple[str, ...], limits: Mapping[str, Known]) -> list[str | None]:
    limit, *rest = bucket
    known = limits.get(document_of(limit))
    told = (True, *known.told) if known is not None else ()
    if len(told) != len(rest):  # of a document that is gone, or was another then
        return [limit, *[None] * len(rest)]
    return [limit, *[part if tell else None for part, tell in zip(rest, told, strict=True)]]


def _paced(found: Iterator[Held], pace: Callable[[], None]) -> Iterator[Held]:
    while some := list(islice(found, _PACED)):
        yield from some
        pace()

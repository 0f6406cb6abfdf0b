"""Buckets in the memory of a running sidecar, asked over its debug socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from authz.limits.inquiry import COUNT_MAX, Answers, Inquiry, Row, Shelved, encode
from authz.limits.redis.keys import Keys
from authz.lookout.selection import Target
from authz.lookout.standing import Found, Match
from authz.model.limit import Store

QUESTION_MAX_BYTES = 48 * 1024  # of JSON; the sidecar takes a little more

Ask = Callable[[Inquiry], Answers]


@dataclass(slots=True)
class Told:
    """What a sidecar says besides its buckets.

    Args:
        revisions: of the sets that its processes serve.
        silent: workers that did not answer in time.
        limits_off: RATE_LIMIT_ENABLED switched limits off.
        cut: there are more buckets than were told.
    """

    revisions: set[str] = field(default_factory=set)
    silent: set[int] = field(default_factory=set)
    limits_off: bool = False
    cut: bool = False
    stores: set[Store] = field(default_factory=set)


class InSidecar:
    """The buckets of one sidecar, all of its workers.

    Args:
        ask: sends an inquiry.
        fill_up: sends one that fills buckets up.
        keys: of the sidecar's keyspace.
    """

    def __init__(self, ask: Ask, fill_up: Ask, keys: Keys) -> None:
        self._ask = ask
        self._fill_up = fill_up
        self._keys = keys
        self.told = Told()

    def fullest(self, limit: str, count: int) -> list[Found]:
        """Return the fullest buckets of each process and store."""
        return self._found(self._ask(Inquiry(limit=limit, count=count)))

    def find(self, targets: Sequence[Target]) -> list[Match]:
        """Return the buckets of targets that are not full, and those that latecomers share."""
        names: dict[tuple[str | None, ...], None] = {}
        for target in targets:
            names |= {target.bucket: None, target.bucket[:1]: None}
        found = [one for some in _split([*names]) for one in self._found(self._ask(_inquiry(some)))]
        return list(self._matched(targets, found))

    def reset(self, found: Sequence[Match], targets: Sequence[Target] = ()) -> int:
        """Fill buckets up; return how many were not full.

        Args:
            targets: whose debt in Redis, which does not answer, is to be forgotten as well.
        """
        names = list(dict.fromkeys([*map(_resets, found), *(each.bucket for each in targets)]))
        return sum(len(self._found(self._fill_up(_inquiry(some)))) for some in _split(names))

    def _matched(self, targets: Sequence[Target], found: Sequence[Found]) -> Iterator[Match]:
        """The digest tells which of two is meant whose names are not told; a sidecar of another keyspace has
        other digests, and told what fits all the same.
        """
        digests = {self._keys.digest(target.name): target for target in targets if target.closed}
        for one in found:
            late = len(one.name) == 1
            fitting = (each for each in targets if each.fits(one.name) or (late and _is_late(each, one)))
            target = digests.get(one.digest) or next(fitting, None)
            if target is not None:
                yield Match(one, target, theirs=not late)

    def _found(self, answers: Answers) -> list[Found]:
        told = self.told
        told.silent |= {*answers.silent}
        found = []
        for answer in answers.workers:
            told.revisions.add(answer.revision)
            told.limits_off |= answer.limits_off
            for shelf in answer.stores:
                told.stores.add(Store(shelf.store))
                told.cut |= len(shelf.rows) >= COUNT_MAX
                found += [_of_row(row, shelf, answer.worker) for row in shelf.rows]
        return found


def _is_late(target: Target, found: Found) -> bool:
    """Whether whoever draws from a target would share this bucket if memory were full."""
    return target.bucket[0] == found.name[0]


def _of_row(row: Row, shelf: Shelved, worker: int) -> Found:
    store = Store(shelf.store)
    return Found(tuple(row.name), row.digest, row.debt, row.elapsed_us, store, worker, shelf.processes)


def _resets(match: Match) -> tuple[str | None, ...]:
    """Return the name under which a bucket is filled up."""
    return match.found.name if len(match.found.name) == 1 else match.target.bucket


def _inquiry(names: Sequence[tuple[str | None, ...]]) -> Inquiry:
    return Inquiry(buckets=[[*name] for name in names], count=COUNT_MAX)


def _split(names: Sequence[tuple[str | None, ...]]) -> Iterator[Sequence[tuple[str | None, ...]]]:
    """Yield names, as many at a time as fit into one question."""
    begun, size = 0, 0
    for number, name in enumerate(names):
        length = len(encode(name)) + 1
        if size + length > QUESTION_MAX_BYTES:
            yield names[begun:number]
            begun, size = number, 0
        size += length
    if names[begun:]:
        yield names[begun:]

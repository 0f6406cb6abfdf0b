"""One look at buckets: in every store that there is, and what must be said besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from authz.lookout.census import Census
from authz.lookout.in_redis import InRedis
from authz.lookout.in_sidecar import InSidecar, Told
from authz.lookout.naming import Directory
from authz.lookout.selection import Target
from authz.lookout.standing import Found, Match, Standing
from authz.model.errors import ConfigError
from authz.model.limit import Store, document_of
from authz.model.text import visible

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class Look:
    """What was seen.

    Args:
        rows: buckets; what refuses and what is in shadow are among them.
        matches: those of them that a store holds.
        notes: a line each.
        trouble: why a store that was asked did not answer; "" where all did.
    """

    rows: list[Standing] = field(default_factory=list)
    matches: list[Match] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    trouble: str = ""


class Lookout:
    """Every store that can be looked into.

    Args:
        sidecar: that runs here; None where none does.
        redis: that has the buckets of the fleet; None: they are in the sidecar's memory, or:
        trouble: why Redis does not answer, though it has them.
    """

    def __init__(
        self,
        census: Census,
        directory: Directory,
        sidecar: InSidecar | None,
        redis: InRedis | None,
        trouble: str = "",
    ) -> None:
        self._trouble = trouble
        self._in_redis = redis is not None or bool(trouble)
        self._census = census
        self._directory = directory
        self._sidecar = sidecar
        self._redis = redis

    def find(self, targets: Sequence[Target], *, held: bool = False) -> Look:
        """Look for the buckets of targets.

        Args:
            held: those that no store holds are full, and left out.
        """
        look = Look()
        if self._redis is not None:
            look.matches += self._redis.find(targets)
        look.matches += self._sidecar_asked(lambda sidecar: sidecar.find(targets), look)
        look.rows = [self._directory.of(match) for match in look.matches]
        if not held and not self._trouble:
            # What a sidecar has for an outage is beside what Redis has, and says nothing once it is full.
            look.rows = [row for row in look.rows if not self._is_spare(row.found) or row.fullness > 0.0]
            look.rows += self._full(
                targets, [each for each in look.matches if not self._is_spare(each.found)]
            )
        look.rows.sort(key=_order)
        look.notes += self._notes()
        return look

    def fullest(self, limit: str, count: int) -> Look:
        """Look for the fullest buckets."""
        look, strange = Look(), set[str]()
        if self._redis is not None:
            look.rows += self._redis.fullest(limit, count, self._directory)
            strange |= self._redis.strange
        for found in self._sidecar_asked(lambda sidecar: sidecar.fullest(limit, count), look):
            stands = self._directory.standing(found)
            if stands is None:
                strange.add(found.name[0] or "")
            else:
                look.rows.append(stands)
        drawn = [row for row in look.rows if row.fullness > 0.0]
        look.rows = sorted(drawn, key=lambda row: (-row.fullness, *_order(row)))[:count]
        look.notes += self._notes()
        if strange:
            names = ", ".join(f"`{visible(document_of(name))}`" for name in sorted(strange))
            look.notes.append(f"there are buckets of limits that this set has not: {names}")
        return look

    def seen(self, matches: Sequence[Match]) -> list[Standing]:
        """Return how buckets stand that were found."""
        return sorted(map(self._directory.of, matches), key=_order)

    def may_reset(self, match: Match, *, named: bool) -> bool:
        """Whether filling a bucket up is what was asked for.

        Args:
            named: the operator named the limit.
        """
        if len(match.found.name) == 1 and not match.found.tag:
            return named
        return match.theirs and (named or not match.target.shared)

    def reset(self, matches: Sequence[Match], targets: Sequence[Target]) -> int:
        """Fill buckets up; return how many were not full.

        Args:
            targets: while Redis is away, a bucket of the sidecar begins with what it last saw there. Of these
                it forgets that.
        """
        in_redis = [match for match in matches if match.found.store is Store.REDIS]
        inside = [match for match in matches if match.found.store is not Store.REDIS]
        seen = [each for each in targets if each.closed] if self._in_redis else []
        count = self._redis.reset(in_redis) if self._redis is not None and in_redis else 0
        return count + self._filled_up(inside, seen)

    def _filled_up(self, matches: Sequence[Match], seen: Sequence[Target]) -> int:
        if self._sidecar is None or not (matches or seen):
            return 0
        try:
            return self._sidecar.reset(matches, seen)
        except ConfigError:
            if matches:
                raise
            return 0  # it is not needed: what it remembers, it refuses by for a second

    def _sidecar_asked(self, ask: Callable[[InSidecar], list[_Answer]], look: Look) -> list[_Answer]:
        """Ask the sidecar; where Redis has the buckets, it is worth a note if it does not answer."""
        look.trouble = self._trouble
        if self._sidecar is None:
            return []
        try:
            return ask(self._sidecar)
        except ConfigError as error:
            if self._redis is None:
                raise
            look.notes.append(f"what a sidecar here decided while redis was away is not shown: {error}")
            return []

    def _is_spare(self, found: Found | None) -> bool:
        """Whether a bucket is a sidecar's own, while Redis answers and has the one that counts."""
        return self._redis is not None and found is not None and found.store is Store.OUTAGE

    def _full(self, targets: Sequence[Target], matches: Sequence[Match]) -> Iterator[Standing]:
        """Yield buckets that no store holds; of those that differ by name space alone one will do."""
        seen = {(match.target.bucket[0], match.target.bucket[2:]) for match in matches}
        for target in targets:
            mark = (target.bucket[0], target.bucket[2:])
            tried = target.in_shadow and target.limit.name not in self._census.tried
            if target.closed and not tried and mark not in seen:
                seen.add(mark)
                yield self._directory.full(target)

    def _notes(self) -> Iterator[str]:
        if self._sidecar is not None:
            yield from _of_sidecar(self._sidecar.told, self._census.revision, shared=self._in_redis)
        if self._redis is not None:
            if self._redis.deserted:
                yield (
                    f"no sidecar spends in {self._redis.where}: are AUTHZ_KEYSPACE and REDIS_URL here"
                    " those of `serve`?"
                )
            if self._redis.cut:
                yield "not every key of redis was looked at: there may be more; raise --visits"
            for name in sorted({target.limit.name for target in self._redis.hidden}):
                yield f"buckets of `{name}` cannot be found in redis by this: name the values with --per"


def _of_sidecar(told: Told, revision: str, *, shared: bool) -> Iterator[str]:
    if told.limits_off:
        yield "this sidecar spends nothing: RATE_LIMIT_ENABLED is false there"
    if told.silent:
        workers = ", ".join(map(str, sorted(told.silent)))
        yield f"these workers did not answer in time, and their buckets are not shown: {workers}"
    others = sorted(told.revisions - {revision, ""})
    if others:
        yield f"the sidecar serves revision {', '.join(others)}, these files are {revision}: rates may differ"
    if told.cut:
        yield "the sidecar holds more buckets than it tells of"
    if shared and Store.MEMORY in told.stores:
        yield "this sidecar keeps its buckets in memory: it runs without REDIS_URL"
    if not shared and Store.OUTAGE in told.stores:
        yield (
            "this sidecar keeps its buckets in redis: set REDIS_URL to see them; these are what it decides by"
            " while redis is away"
        )


def _order(row: Standing) -> tuple[bool, str, str, int]:
    """What refuses comes first."""
    name = row.bucket[0] or ""
    worker = row.found.worker if row.found is not None else -1
    return (not row.refuses, document_of(name), row.whose, worker)

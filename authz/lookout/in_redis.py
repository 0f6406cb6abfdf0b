"""Buckets in Redis: those whose key is known by name, any other by looking through all of them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import count

from authz.limits.redis.inspect import Inspector, Named, Progress, Value
from authz.limits.redis.keys import Keys
from authz.lookout.naming import Directory
from authz.lookout.selection import Target
from authz.lookout.standing import Found, Match, Standing
from authz.model.limit import Store
from authz.policy.rule import Whose


class InRedis:
    """The buckets of one keyspace.

    Args:
        where: which keyspace of which Redis, for people.
        progress: told how far a search is.
    """

    def __init__(self, inspector: Inspector, keys: Keys, where: str, progress: Progress) -> None:
        self.where = where
        self._inspector = inspector
        self._keys = keys
        self._progress = progress
        self.hidden: list[Target] = []  # that no key can be told to be of
        self.strange: set[str] = set()  # limits with buckets, of which the set has none

    def find(self, targets: Sequence[Target]) -> list[Match]:
        """Return the buckets of targets that are not full."""
        named = {self._keys.name(target.spend): target for target in targets if target.spend is not None}
        found = [
            Match(self._of(key, value), named[key], theirs=True)
            for key, value in self._inspector.read(named).items()
        ]
        sought = [target for target in targets if target.spend is None]
        self.hidden += [target for target in sought if not self._can_be_sought(target)]
        return [*found, *self._searched([target for target in sought if self._can_be_sought(target)])]

    @property
    def deserted(self) -> bool:
        """Whether no sidecar says that it spends here."""
        return self._inspector.fleet() == 0

    @property
    def cut(self) -> bool:
        """Whether a search ended before it had seen every key."""
        return self._inspector.stopped

    def fullest(self, limit: str, most: int, directory: Directory) -> list[Standing]:
        """Return the fullest buckets, the fullest first."""
        kept: dict[bytes, Standing] = {}
        order: list[tuple[float, int, bytes]] = []
        numbers = count()
        for found in self._all(limit):
            if found.key in kept:
                continue  # SCAN may name a key twice
            stands = directory.standing(found)
            if stands is None:
                self.strange.add(found.name[0] or "")
                continue
            heapq.heappush(order, (stands.fullness, -next(numbers), found.key))
            kept[found.key] = stands
            if len(order) > most:
                del kept[heapq.heappop(order)[2]]
        return [kept[key] for _, _, key in sorted(order, reverse=True)]

    def reset(self, found: Sequence[Match]) -> int:
        """Remove buckets; return how many there still were."""
        return self._inspector.remove({match.found.key for match in found})

    def _all(self, limit: str) -> Iterator[Found]:
        # In shadow or not is a difference of the pattern; nobody should have to wait for two searches.
        pattern = f"*{limit}" if limit else "*"
        for some in self._inspector.search(limit=pattern, progress=self._progress):
            for key, value in some.items():
                found = self._of(key, value)
                if not limit or found.name[0] in (limit, f"shadow/{limit}"):
                    yield found

    def _searched(self, targets: Sequence[Target]) -> Iterator[Match]:
        """Look through all keys: the tag of a caller or the digest of a bucket tells whose they are."""
        if not targets:
            return
        digests = {self._keys.digest(each.name): each for each in targets if each.closed}
        tags = {(self._tag(each), each.bucket[0]): each for each in targets if not each.closed}
        tag = self._tag(targets[0]) if len(targets) == 1 and tags else "*"
        seen: set[bytes] = set()
        for some in self._inspector.search(tag=tag, progress=self._progress):
            for key, value in some.items():
                found = self._of(key, value)
                target = digests.get(found.digest) or tags.get((found.tag, found.name[0]))
                if target is not None and key not in seen:
                    seen.add(key)
                    yield Match(found, target, theirs=not target.loose)

    def _tag(self, target: Target) -> str:
        return self._keys.tag(target.caller or ())

    def _can_be_sought(self, target: Target) -> bool:
        return target.closed or (target.caller is not None and target.limit.whose is not Whose.ANYBODY)

    def _of(self, key: bytes, value: Value) -> Found:
        named = self._inspector.parts(key) or Named("", "", "")
        return Found(
            (named.limit,),
            named.digest,
            value.debt,
            value.elapsed_us,
            Store.REDIS,
            tag=named.tag,
            key=key,
        )

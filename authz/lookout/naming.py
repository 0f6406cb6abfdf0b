"""Whose a bucket is that somebody finds in a store: from its name, or from what its key hashes."""

from __future__ import annotations

from functools import cached_property

from authz.limits.redis.keys import Keys
from authz.lookout.census import Census, Customer
from authz.lookout.selection import Bucket, Selection, Target, of_name
from authz.lookout.standing import Found, Match, Standing, full, standing
from authz.model.limit import document_of
from authz.model.text import visible
from authz.policy.rule import LimitRule

_LENGTH_MAX = 60  # of a value, for people
_DIGEST_SHOWN = 8
EVERYBODY = "everybody"
LATECOMERS = "whoever came when memory was full"


class Directory:
    """Names buckets after the keys and customers of a set."""

    def __init__(self, census: Census, keys: Keys) -> None:
        self._census = census
        self._keys = keys

    def words(self, limit: LimitRule, bucket: Bucket) -> str:
        """Return whose a bucket is, for people."""
        namespace, values = bucket[1], bucket[2:]
        said = [
            self._value(part.source.strip(), value, namespace)
            for part, value in zip(limit.per, values, strict=True)
            if part.inspection.names
        ]
        return ", ".join(said) or EVERYBODY

    def of_target(self, target: Target) -> str:
        """Return whose bucket a target is."""
        return self.words(target.limit, target.bucket)

    def standing(self, found: Found) -> Standing | None:
        """Return how a bucket stands that was found; None: the set has no such limit."""
        limit = self._census.limits.get(document_of(found.name[0] or ""))
        if limit is None:
            return None
        if len(found.name) == 2 + len(limit.per):
            target = of_name(self._census, limit, found.name)
            whose = self.words(limit, found.name)
            if not target.closed:
                whose = f"{whose} {_short(found)}"
            return standing(found, target.rate, target.cost, whose)
        if not found.tag:  # in memory, and of its limit alone
            whose = LATECOMERS if len(found.name) == 1 else _short(found)
            return standing(found, limit.rate, 1.0, whose)
        known = self._by_digest.get(found.digest)
        if known is not None:
            named = found._replace(name=known.bucket)
            return standing(named, known.rate, known.cost, self.of_target(known))
        return standing(found, limit.rate, 1.0, self.hashed(found))

    def hashed(self, found: Found) -> str:
        """Return what there is to say of a bucket of which Redis holds a hash alone."""
        customer = self._by_tag.get(found.tag)
        return f"{self._customer(*customer)}, {_short(found)}" if customer else _short(found)

    def of(self, match: Match) -> Standing:
        """Return how a bucket stands that was asked for."""
        found, target, _ = match
        if len(found.name) == 1 and not found.tag:
            return standing(found, target.rate, target.cost, LATECOMERS, shared=True)
        if found.tag and not target.closed:
            return standing(found, target.rate, target.cost, self.hashed(found), shared=target.shared)
        name = target.bucket
        if not found.tag:  # what the sidecar tells fills in what was not known
            pairs = zip(found.name, name, strict=True)
            name = tuple([asked if told is None else told for told, asked in pairs])
        whose, named = self.words(target.limit, name), found._replace(name=name)
        return standing(named, target.rate, target.cost, whose, shared=target.shared)

    def full(self, target: Target) -> Standing:
        """Return how a bucket stands that was asked for, and that no store holds."""
        return full(target, self.of_target(target))

    @cached_property
    def _by_digest(self) -> dict[str, Target]:
        """Buckets that follow from who asks alone: of every key and customer."""
        found = {}
        for limit in self._census.limits.values():
            if all(name.startswith("identity.") for part in limit.per for name in part.inspection.names):
                for target in Selection(self._census, limit.name).of_everybody():
                    if target.closed:
                        found[self._keys.digest(target.name)] = target
        return found

    @cached_property
    def _by_tag(self) -> dict[str, Customer]:
        return {self._keys.tag(("customer", *customer)): customer for customer in self._census.customers}

    def _value(self, source: str, value: str | None, namespace: str | None) -> str:
        if value is None:
            return "?"
        match source:
            case "identity.key_id":
                return f"key {self._census.key_names.get(value, value)}"
            case "identity.customer":
                return self._customer(namespace or "", value)
            case "client.network":
                return value.removesuffix("/32")
        return visible(value) if len(value) <= _LENGTH_MAX else f"{visible(value)[:_LENGTH_MAX]}..."

    def _customer(self, namespace: str, name: str) -> str:
        """The name space is told where there are several."""
        several = len(self._census.namespaces) > 2  # the first is that of nobody's callers
        return f"customer {visible(f'{namespace}/{name}' if several else name)}"


def _short(found: Found) -> str:
    """Tell buckets apart of which nothing else may be told."""
    return f"#{found.digest[:_DIGEST_SHOWN]}"

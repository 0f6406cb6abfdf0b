"""From whom an operator asks about to the buckets that they draw from.

What `per` reads of the identity or of the client's network is known then, anything else of a request is not:
such a bucket is open, and a store is searched for all that fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from authz.lookout.census import Census
from authz.model.errors import ConfigError
from authz.model.identity import ANONYMOUS, Identity
from authz.model.limit import SHADOW, Rate, Spend, in_shadow
from authz.model.request import NOWHERE, UNSAID, Client
from authz.model.text import visible
from authz.policy.condition import Expression
from authz.policy.evaluate import spend_of
from authz.policy.inspection import Inspection
from authz.policy.rule import LimitRule, Whose
from authz.policy.vocabulary import Facts
from authz.request.client import direct

Bucket = tuple[str | None, ...]  # as Spend.bucket; None: any value

_OF_CLIENT = frozenset({"client.network", "client.address"})
_KEY, _CUSTOMER, _NETWORK = "identity.key_id", "identity.customer", "client.network"


@dataclass(frozen=True, slots=True)
class Target:
    """One bucket that is asked about, or all that fit one pattern.

    Args:
        bucket: its name.
        caller: what all buckets of the caller share, see Spend.caller; None: not known.
        rate: whole, with the overrides and tiers of whom is asked about.
        cost: tokens of one request; 1 where it depends on the request.
        shared: others draw from it, too, whoever is asked about.
        loose: where the caller alone is known (in Redis), buckets of others fit as well.
    """

    limit: LimitRule
    bucket: Bucket
    caller: tuple[str, ...] | None
    rate: Rate
    cost: float
    shared: bool = False
    loose: bool = False

    @property
    def closed(self) -> bool:
        """Whether it is one bucket."""
        return None not in self.bucket

    @property
    def in_shadow(self) -> bool:
        """Whether documents in shadow draw from it."""
        return in_shadow(self.bucket)

    @property
    def name(self) -> tuple[str, ...]:
        """Its name, where it is closed."""
        return tuple([part or "" for part in self.bucket])

    @property
    def spend(self) -> Spend | None:
        """What a request would draw; None where it is not known which bucket from."""
        if self.caller is None or not self.closed:
            return None
        return Spend(self.limit.name, self.name, self.rate, self.cost, self.caller)

    def fits(self, name: Sequence[str | None]) -> bool:
        """Whether a bucket of this name is meant; what is not told of it may be anything."""
        return len(name) == len(self.bucket) and all(
            want is None or part is None or want == part for want, part in zip(self.bucket, name, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Known:
    """Whom is asked about: what is known of a request of theirs."""

    facts: Facts
    names: Callable[[str], bool]  # whether a variable is


class Selection:
    """The buckets of those who are asked about.

    Args:
        limit: only buckets of this limit; "": of any.

    Raises:
        ConfigError: the set has no such limit.
    """

    def __init__(self, census: Census, limit: str = "") -> None:
        self._census = census
        self._limits = list(census.chosen(limit))
        self._named = bool(limit)
        self.beside: list[LimitRule] = []  # counted by what a request says, not by who sends it

    def of_key(self, name: str) -> list[Target]:
        """Return the buckets that a key draws from.

        Raises:
            ConfigError: there is no such key.
        """
        return self._targets([self._of_identity(self._census.key(name).identity)])

    def of_customer(self, name: str, namespace: str = "") -> list[Target]:
        """Return the buckets of a customer and of its keys.

        Raises:
            ConfigError: there is no such customer, or there are several.
        """
        customer = self._census.customer(name, namespace)
        somebody = _Known(_facts(self._census.somebody(customer)), _CUSTOMER.__eq__)
        held = [self._of_identity(identity) for identity in self._census.customers[customer]]
        return self._targets([*held, *([] if held else [somebody])])

    def of_address(self, text: str) -> list[Target]:
        """Return the buckets of a client's network, in every name space that it may draw in.

        Raises:
            ConfigError: that is no address.
        """
        client = direct(text, 0)
        if client is NOWHERE:
            raise ConfigError(
                f"--address: `{visible(text)[:60]}` is no IP address; write one such as 203.0.113.7"
            )
        return self._targets(
            [
                _Known(_facts(replace(ANONYMOUS, namespace=namespace), client), _OF_CLIENT.__contains__)
                for namespace in self._census.namespaces
            ]
        )

    def of_values(self, values: Sequence[str], namespace: str = "") -> list[Target]:
        """Return the bucket that these values of `per` name, in every name space where none is given.

        Raises:
            ConfigError: that limit has more of them, or fewer.
        """
        limit = self._limits[0]
        if len(values) != len(limit.per):
            sources = ", ".join(f"`{part.source}`" for part in limit.per)
            raise ConfigError(
                f"--per: the limit `{limit.name}` is counted by {sources}; give a value for each"
            )
        within = [namespace] if namespace else self._census.namespaces
        return [target for space in within for target in self._given(limit, values, space)]

    def of_everybody(self) -> list[Target]:
        """Return the buckets of every key and customer."""
        known = [
            *map(self._of_identity, (key.identity for key in self._census.keys.values())),
            *(
                _Known(_facts(self._census.somebody(customer)), _CUSTOMER.__eq__)
                for customer in self._census.customers
            ),
        ]
        return self._targets(known)

    def _of_identity(self, identity: Identity) -> _Known:
        return _Known(_facts(identity), lambda name: name.startswith("identity."))

    def _targets(self, known: Sequence[_Known]) -> list[Target]:
        found: dict[Bucket, Target] = {}
        for limit in self._limits:
            about = {name for part in limit.per for name in part.inspection.names}
            if about and not any(one.names(name) for one in known[:1] for name in about):
                self.beside.append(limit)
                continue
            for one in known:
                for target in self._of_limit(limit, one):
                    found.setdefault(target.bucket, replace(target, shared=not about))
        return list(found.values())

    def _of_limit(self, limit: LimitRule, known: _Known) -> Iterator[Target]:
        values = [_value(limit, part, known) for part in limit.per]
        if "" in values:  # a request of theirs could not be counted by it
            return
        bucket = (limit.name, known.facts.identity.namespace, *values)
        caller = _caller(limit, known.facts)
        loose = (
            any(
                value and part.source.strip() not in (_CUSTOMER, _NETWORK)
                for part, value in zip(limit.per, values, strict=True)
            )
            and None in values
        )
        yield from self._both(
            Target(limit, bucket, caller, _rate(limit, known.facts), _cost(limit), loose=loose)
        )

    def _given(self, limit: LimitRule, values: Sequence[str], namespace: str) -> Iterator[Target]:
        facts = _facts_of(
            self._census,
            _given(limit, values),
            namespace,
        )
        if facts is None:
            return
        per = tuple(_constant(value) for value in values)
        spend = spend_of(replace(limit, per=per, cost=None), facts)
        if isinstance(spend, Spend):
            caller = _caller(limit, facts)
            yield from self._both(Target(limit, spend.bucket, caller, spend.rate, _cost(limit)))

    def _both(self, target: Target) -> Iterator[Target]:
        """Yield the bucket of enforced rules, and that of what is in shadow."""
        limit, *rest = target.bucket
        if target.limit.name not in self._census.tried:
            yield target
        yield replace(target, bucket=(f"{SHADOW}{limit}", *rest))


def of_name(census: Census, limit: LimitRule, name: Bucket) -> Target:
    """Return the bucket of a limit that a store names; a value that it does not tell is None."""
    facts = _facts_of(census, _given(limit, name[2:]), name[1] or "") or _facts(ANONYMOUS)
    return Target(limit, name, _caller(limit, facts), _rate(limit, facts), _cost(limit))


def _given(limit: LimitRule, values: Sequence[str | None]) -> dict[str, str]:
    """Return what values of `per` say of a request; None: such a value is not known."""
    sources = [part.source.strip() for part in limit.per]
    return {source: value for source, value in zip(sources, values, strict=True) if value is not None}


def _facts_of(census: Census, given: dict[str, str], namespace: str) -> Facts | None:
    """Return what is known of a request; None where its key is of another name space."""
    key = census.keys.get(given.get(_KEY, ""))
    if key is not None:
        return _facts(key.identity) if key.identity.namespace == namespace else None
    identity = replace(ANONYMOUS, namespace=namespace)
    if _CUSTOMER in given:
        identity = census.somebody((namespace, given[_CUSTOMER]))
    network = given.get(_NETWORK, "")
    return _facts(identity, NOWHERE._replace(network=network) if network else NOWHERE)


def _value(limit: LimitRule, part: Expression, known: _Known) -> str | None:
    """Return a value as it stands in a bucket's name; None: not known; "": there is none."""
    if not all(map(known.names, part.inspection.names)):
        return None
    spend = spend_of(replace(limit, per=(part,), cost=None), known.facts)
    return spend.bucket[2] if isinstance(spend, Spend) else ""


def _rate(limit: LimitRule, facts: Facts) -> Rate:
    spend = spend_of(replace(limit, per=(), cost=None), facts)
    return spend.rate if isinstance(spend, Spend) else limit.rate


def _cost(limit: LimitRule) -> float:
    return limit.fixed_cost if limit.cost is None else 1.0


def _caller(limit: LimitRule, facts: Facts) -> tuple[str, ...] | None:
    """Return what names the place of a bucket; None where what is known does not say."""
    match limit.whose:
        case Whose.CUSTOMER if facts.identity.customer:
            return ("customer", facts.identity.namespace, facts.identity.customer)
        case Whose.NETWORK if facts.request.client.network:
            return ("network", facts.request.client.network)
        case Whose.ANYBODY:
            return ()
    return None


def _facts(identity: Identity, client: Client = NOWHERE) -> Facts:
    return Facts(UNSAID._replace(client=client), identity, {})


def _constant(value: str) -> Expression:
    return Expression(value, None, ((value, lambda _: value),), Inspection(frozenset()))

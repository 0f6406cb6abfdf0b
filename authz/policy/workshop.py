"""From one document to what it becomes when it is asked: conditions compiled, patterns read, rates shared.

What a policy becomes depends on the limits that it names, and on nothing else of its set. So a policy is
compiled once, and bound to its limits again where those change.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from authz.model.decision import RuleName
from authz.model.errors import PolicyError
from authz.model.limit import OnStoreError
from authz.model.site import Site
from authz.policy.condition import Compiler, Condition, Expression, ExpressionFault
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import GrpcMatch, PolicySpec
from authz.policy.kind_policy import Rule as RuleSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.loaded import Document
from authz.policy.page import relative
from authz.policy.path import PathPattern, parse_path
from authz.policy.rule import LimitRule, Network, PeerPattern, Rule, Tier, Whose
from authz.policy.siting import site

_EVERY_PATH = (PathPattern((), (), rest=True),)
_SPECIAL_IDENTITIES = frozenset({"anonymous", "anyone"})
_CUSTOMER = frozenset({"identity.customer", "identity.key_id"})  # a key has one customer
_TIER_VARIABLES = frozenset({"identity.key_id", "identity.customer", "identity.scopes", "identity.labels"})

# A number as CEL writes it; Python alone reads `1_000`, `+1` and digits of other scripts.
_NUMBER = re.compile(r"\s*-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*")

_Compiled = TypeVar("_Compiled", Condition, Expression)
Where = tuple[str | int, ...]


@dataclass(slots=True)
class Findings:
    """What was found while one document was compiled; lines count from its own text.

    Args:
        names: variables that its expressions name.
    """

    faults: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class MadeLimit:
    """A compiled Limit document.

    Args:
        tried: it is in `mode: shadow`.
        params: some expression reads what host and path patterns captured.
    """

    rule: LimitRule
    tried: bool
    params: bool
    findings: Findings


class Placed(NamedTuple):
    """A rule, the paths that it is placed under, and the limits that it names.

    Args:
        of_identity: what it sets for the upstream follows from the identity alone.
        params: some expression of its policy reads what host and path patterns captured.
    """

    rule: Rule
    paths: tuple[PathPattern, ...]
    limits: tuple[str, ...]
    of_identity: bool
    params: bool


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A compiled Policy document, bound to its limits.

    Args:
        limits: those that it names and that there are, by name.
    """

    placed: tuple[Placed, ...]
    findings: Findings
    limits: tuple[MadeLimit, ...] | None = None

    def bound(self, limits: tuple[MadeLimit, ...]) -> Cut:
        """Return the same policy with these limits."""
        by_name = {limit.rule.name: limit for limit in limits}
        return Cut(tuple([_bound(placed, by_name) for placed in self.placed]), self.findings, limits)


class Workshop:
    """Compiles documents.

    Args:
        processes: so many keep the faults of a guard, each of its own: each gets its share of the rate.
        keepers: so many keep buckets, each of its own: likewise of each limit; 1 where all share a store.
    """

    def __init__(self, compiler: Compiler | None = None, processes: int = 1, keepers: int = 1) -> None:
        self.compiler = compiler or Compiler()
        self._processes = processes
        self._keepers = keepers

    def site(self, document: Document[SiteSpec]) -> Site:
        """Compile a Site."""
        return site(document, self._processes)

    def policy(self, document: Document[PolicySpec]) -> Cut:
        """Compile a Policy, not bound to its limits yet."""
        bench = _Bench(self.compiler, document)
        headers = bench.headers(document)
        placed = [
            _placed(bench.rule(document, number, headers), rule)
            for number, rule in enumerate(document.spec.rules)
        ]
        return Cut(tuple(placed), bench.findings)

    def limit(self, document: Document[LimitSpec]) -> MadeLimit:
        """Compile a Limit."""
        spec, bench = document.spec, _Bench(self.compiler, document)
        per = [bench.text(source, "spec", "per", number) for number, source in enumerate(spec.per)]
        tiers = [
            Tier(when, tier.to_rate().share(self._keepers))
            for number, tier in enumerate(spec.tiers or ())
            if (when := bench.tier(number, tier.when)) is not None
        ]
        fixed, cost = bench.cost(spec)
        limit = LimitRule(
            name=document.name,
            per=tuple(filter(None, per)),
            rate=spec.to_rate().share(self._keepers),
            tiers=tuple(tiers),
            fixed_cost=fixed,
            cost=cost,
            whose=whose(spec.per),
            on_store_error=OnStoreError(spec.on_store_error),
        )
        asked = tuple(_asked(limit))
        limit = replace(limit, of_identity=all(map(_of_identity, asked)))
        return MadeLimit(limit, spec.mode == "shadow", any(map(_of_params, asked)), bench.findings)


class _Bench:
    """The work on one document."""

    def __init__(self, compiler: Compiler, document: Document[PolicySpec] | Document[LimitSpec]) -> None:
        self._compiler = compiler
        self._document = document
        self.findings = Findings()

    def rule(
        self, document: Document[PolicySpec], number: int, headers: tuple[tuple[str, Expression], ...]
    ) -> Rule:
        """Compile one rule of a policy, not bound to its limits yet."""
        rule = document.spec.rules[number]
        identities = frozenset(rule.identity or ())
        allow = rule.effect == "allow"
        when = self._when(number, rule)
        return Rule(
            name=RuleName(document.name, rule.name),
            allow=allow,
            methods=frozenset(("POST",) if rule.grpc else rule.methods or ()),
            grpc=rule.grpc is not None,
            providers=identities - _SPECIAL_IDENTITIES,
            anonymous="anonymous" in identities,
            anyone="anyone" in identities or not identities,
            when=when,
            peers=tuple(map(_peer, rule.peers or ())),
            networks=tuple(map(network, rule.addresses or ())),
            upgrade=frozenset(rule.upgrade or ()),
            headers=headers if allow else (),
            when_of_identity=when is not None and _of_identity(when),
        )

    def _when(self, number: int, rule: RuleSpec) -> Condition | None:
        if rule.when is None:
            return None
        when = self.condition(rule.when, "spec", "rules", number, "when")
        if when is not None and rule.effect == "deny":
            self._warn_of_deny(number, when)
        return when

    def _warn_of_deny(self, number: int, when: Condition) -> None:
        at = ("spec", "rules", number, "when")
        for access in when.inspection.unguarded:
            if access.startswith("params["):
                continue  # whether a pattern captures it, `lint.py` asks
            what = (
                f"`{access}` fails where the key is missing, and a deny rule that fails denies: use `[?...]`"
            )
            self._warn(what, *at, code="expression-can-fail")
        if when.inspection.compares_header:
            what = "repeating a header dodges a comparison (`blocked,x`): use `request.header_values`"
            self._warn(what, *at, code="header-comparison")

    def headers(self, document: Document[PolicySpec]) -> tuple[tuple[str, Expression], ...]:
        """Compile what a policy sets for the upstream."""
        found = []
        for name, source in document.ties.headers:
            expression = self.text(source, "spec", "onAllow", "headers", name)
            if expression is not None:
                found.append((name, expression))
        return tuple(found)

    def tier(self, number: int, source: str) -> Condition | None:
        """Compile the condition of a tier."""
        where = ("spec", "tiers", number, "when")
        when = self.condition(source, *where)
        if when is not None and not when.inspection.names <= _TIER_VARIABLES:
            odd = ", ".join(f"`{name}`" for name in sorted(when.inspection.names - _TIER_VARIABLES))
            what = (
                f"a tier reads only key_id, customer, scopes and labels of the identity, not {odd}: remove it"
            )
            self._fault(what, *where)
        return when

    def cost(self, spec: LimitSpec) -> tuple[float, Expression | None]:
        """Return a cost that is written as a number, or the expression that gives it."""
        source = spec.cost
        if not _NUMBER.fullmatch(source):
            return 1.0, self._try(self._compiler.number, source, "spec", "cost")
        fixed = float(source)
        if not math.isfinite(fixed) or fixed < 0.0:
            self._fault(f"a cost is a finite number >= 0, not `{source.strip()}`: write one", "spec", "cost")
        elif fixed > spec.to_rate().burst_tokens:
            what = f"a cost of `{source.strip()}` exceeds the burst, so nothing passes: raise `burst`"
            self._warn(what, "spec", "cost", code="cost-exceeds-burst")
        return fixed, None

    def condition(self, source: str, *where: str | int) -> Condition | None:
        """Compile a condition; None where it has a fault."""
        return self._try(self._compiler.condition, source, *where)

    def text(self, source: str, *where: str | int) -> Expression | None:
        """Compile an expression that gives text; None where it has a fault."""
        return self._try(self._compiler.text, source, *where)

    def _try(self, compile_: Callable[[str], _Compiled], source: str, *where: str | int) -> _Compiled | None:
        try:
            compiled = compile_(source)
        except ExpressionFault as fault:
            self._fault(str(fault), *where)
            return None
        self.findings.names |= compiled.inspection.names
        return compiled

    def _fault(self, what: str, *where: str | int) -> None:
        fault = self._document.fault(what, *where)
        self.findings.faults.append(relative(fault, self._document.line))

    def _warn(self, what: str, *where: str | int, code: str) -> None:
        warning = self._document.fault(what, *where, code=code)
        self.findings.warnings.append(relative(warning, self._document.line))


def _placed(rule: Rule, spec: RuleSpec) -> Placed:
    asked = [expression for _, expression in rule.headers]
    of_identity, params = all(map(_of_identity, asked)), any(map(_of_params, asked))
    if rule.when is not None:
        params = params or _of_params(rule.when)
    return Placed(rule, _paths(spec), spec.limits or (), of_identity, params)


def _bound(placed: Placed, limits: Mapping[str, MadeLimit]) -> Placed:
    """Return a rule with its limits, and what follows from them. Ten thousand may be bound in one load."""
    named = [limits[name] for name in placed.limits if name in limits]
    spent = tuple([limit.rule for limit in named if not limit.tried])
    bound = replace(
        placed.rule,
        limits=spent,
        shadow_limits=tuple([limit.rule for limit in named if limit.tried]),
        grant_of_identity=placed.of_identity and all(limit.of_identity for limit in spent),
        params=placed.params or any(limit.params for limit in named),
    )
    return placed._replace(rule=bound)


def whose(per: Iterable[str]) -> Whose:
    """Return who shares the buckets that such expressions name."""
    paths = {text.strip() for text in per}
    if not paths.isdisjoint(_CUSTOMER):
        return Whose.CUSTOMER
    return Whose.NETWORK if "client.network" in paths else Whose.ANYBODY


def network(text: str) -> Network:
    """Return a CIDR as a range of integers."""
    parsed = ipaddress.ip_network(text)
    return Network(parsed.version, int(parsed.network_address), int(parsed.broadcast_address))


def _of_identity(expression: Condition | Expression) -> bool:
    return all(name.startswith("identity.") for name in expression.inspection.names)


def _of_params(expression: Condition | Expression) -> bool:
    return "params" in expression.inspection.names


def _paths(rule: RuleSpec) -> tuple[PathPattern, ...]:
    if rule.grpc:
        return tuple(_grpc_paths(rule.grpc))
    return tuple(map(parse_path, rule.paths)) if rule.paths else _EVERY_PATH


def _asked(limit: LimitRule) -> Iterator[Condition | Expression]:
    """Every expression that a bucket, its rate and its cost are made from."""
    yield from limit.per
    yield from (tier.when for tier in limit.tiers)
    if limit.cost is not None:
        yield limit.cost


def _peer(text: str) -> PeerPattern:
    wildcard = text.endswith("/*")
    return PeerPattern(text[:-1] if wildcard else text, wildcard)


def _grpc_paths(matches: Iterable[GrpcMatch]) -> Iterable[PathPattern]:
    """A gRPC call is `POST /package.Service/Method`. Source: gRPC over HTTP/2, "Requests"."""
    for match in matches:
        for method in match.methods or (None,):
            yield PathPattern((match.service, method), (), rest=False)

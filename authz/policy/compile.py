"""From documents to rules that can be asked: conditions compiled, patterns indexed, names resolved.

Everything that is wrong is collected; a set with one fault is not served.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

from authz.model.decision import RuleName
from authz.model.errors import PolicyError
from authz.model.reason import Coarse
from authz.model.site import Redirect, Refusal, Site
from authz.policy.agreement import disagreements
from authz.policy.condition import Compiler, Condition, Expression, ExpressionFault
from authz.policy.host import HostPattern, parse_host
from authz.policy.index import Index
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import GrpcMatch, PolicySpec
from authz.policy.kind_policy import Rule as RuleSpec
from authz.policy.kind_site import Refusal as RefusalSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.loaded import Document, Loaded
from authz.policy.path import PathPattern, parse_path
from authz.policy.rule import LimitRule, Network, PeerPattern, Rule, Tier
from authz.policy.shadow import Shadow
from authz.policy.sites import SiteIndex

_EVERY_PATH = (PathPattern((), (), rest=True),)
_SPECIAL_IDENTITIES = frozenset({"anonymous", "anyone"})
_TIER_VARIABLES = frozenset({"identity.key_id", "identity.customer", "identity.scopes", "identity.labels"})

# A number as CEL writes it; Python alone reads `1_000`, `+1` and digits of other scripts.
_NUMBER = re.compile(r"\s*-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\s*")

_Compiled = TypeVar("_Compiled", Condition, Expression)
Where = tuple[str | int, ...]


@dataclass(slots=True)
class Ruleset:
    """A compiled policy set. Usable only if `faults` is empty."""

    index: Index = field(default_factory=Index)
    sites: SiteIndex = field(default_factory=SiteIndex)
    shadow: Shadow | None = None  # documents in `mode: shadow`; None where there are none
    settable: frozenset[str] = frozenset()  # headers that some enforcing policy sets
    names: set[str] = field(default_factory=set)  # variables that some expression names
    faults: list[PolicyError] = field(default_factory=list)
    warnings: list[PolicyError] = field(default_factory=list)


def compile_set(loaded: Loaded, compiler: Compiler | None = None, processes: int = 1) -> Ruleset:
    """Compile a policy set; its faults are in the result.

    Args:
        processes: so many keep buckets of their own: each limit gets this one's share of its rate.
    """
    return _Set(loaded, compiler or Compiler(), processes).compile()


class _Set:
    """The work of one compilation."""

    def __init__(self, loaded: Loaded, compiler: Compiler, processes: int) -> None:
        self._loaded = loaded
        self._compiler = compiler
        self._processes = processes
        self._result = Ruleset()
        self._limits: Mapping[str, LimitRule] = {}
        self._tried = {document.name for document in loaded.limits if document.spec.mode == "shadow"}
        self._shadow = Shadow()

    def compile(self) -> Ruleset:
        result = self._result
        enforcing = [document for document in self._loaded.policies if document.spec.mode == "enforce"]
        self._limits = {document.name: self._limit(document) for document in self._loaded.limits}
        for document in self._loaded.policies:
            self._policy(document)
        for site in self._loaded.sites:
            compiled = _site(site, self._processes)
            for host in site.spec.hosts:
                result.sites.add(parse_host(host), compiled)
        result.index.seal()
        if self._tried or len(enforcing) < len(self._loaded.policies):
            self._shadow.seal()
            result.shadow = self._shadow
        # A policy in shadow sets no header: it owns none, and agrees with everybody.
        result.settable = frozenset(chain.from_iterable(map(_headers, enforcing)))
        result.faults += disagreements(self._loaded.policies)
        return result

    def _policy(self, document: Document[PolicySpec]) -> None:
        spec = document.spec
        hosts = [parse_host(host) for host in spec.hosts]
        headers = self._on_allow(document)
        named: set[str] = set()
        enforcing = spec.mode == "enforce"
        index = self._result.index if enforcing else self._shadow.policies
        for number, rule in enumerate(spec.rules):
            providers = frozenset(rule.identity or ()) - _SPECIAL_IDENTITIES
            named |= providers
            compiled = self._rule(document, number, rule, providers, headers)
            for host in hosts:
                _place(index, compiled, host, rule)
                if enforcing and compiled.shadow_limits:
                    _place(self._shadow.limited, compiled, host, rule)
        if enforcing:
            for host in hosts:
                index.name_providers(host, named)

    def _rule(
        self,
        document: Document[PolicySpec],
        number: int,
        rule: RuleSpec,
        providers: frozenset[str],
        headers: tuple[tuple[str, Expression], ...],
    ) -> Rule:
        identities = frozenset(rule.identity or ())
        allow = rule.effect == "allow"
        when = None
        if rule.when is not None:
            when = self._try(document, ("spec", "rules", number, "when"), self._compiler.condition, rule.when)
        if when is not None and not allow:
            self._warn_of_deny(document, number, when)
        limits = [self._limits[name] for name in rule.limits or () if name in self._limits]
        spent = tuple(limit for limit in limits if limit.name not in self._tried)
        tried = tuple(limit for limit in limits if limit.name in self._tried)
        asked = tuple(_asked(headers, spent))
        return Rule(
            name=RuleName(document.name, rule.name),
            allow=allow,
            methods=frozenset(("POST",) if rule.grpc else rule.methods or ()),
            grpc=rule.grpc is not None,
            providers=providers,
            anonymous="anonymous" in identities,
            anyone="anyone" in identities or not identities,
            when=when,
            peers=tuple(map(_peer, rule.peers or ())),
            networks=tuple(map(network, rule.addresses or ())),
            upgrade=frozenset(rule.upgrade or ()),
            limits=spent,
            shadow_limits=tried,
            headers=headers if allow else (),
            when_of_identity=when is not None and _of_identity(when),
            grant_of_identity=all(map(_of_identity, asked)),
            params=any(
                one is not None and "params" in one.inspection.names
                for one in (*asked, *_asked((), tried), when)
            ),
        )

    def _warn_of_deny(self, document: Document[PolicySpec], number: int, when: Condition) -> None:
        at = ("spec", "rules", number, "when")
        for access in when.inspection.unguarded:
            if access.startswith("params["):
                continue  # whether a pattern captures it, `lint.py` asks
            what = (
                f"`{access}` fails where the key is missing, and a deny rule that fails denies: use `[?...]`"
            )
            self._result.warnings.append(document.fault(what, *at, code="expression-can-fail"))
        if when.inspection.compares_header:
            what = "repeating a header dodges a comparison (`blocked,x`): use `request.header_values`"
            self._result.warnings.append(document.fault(what, *at, code="header-comparison"))

    def _on_allow(self, document: Document[PolicySpec]) -> tuple[tuple[str, Expression], ...]:
        found = []
        for name, source in sorted(_headers(document).items()):
            where = ("spec", "onAllow", "headers", name)
            expression = self._try(document, where, self._compiler.text, source)
            if expression is not None:
                found.append((name, expression))
        return tuple(found)

    def _limit(self, document: Document[LimitSpec]) -> LimitRule:
        spec = document.spec
        per = [
            self._try(document, ("spec", "per", number), self._compiler.text, source)
            for number, source in enumerate(spec.per)
        ]
        tiers = [
            Tier(when, tier.to_rate().share(self._processes))
            for number, tier in enumerate(spec.tiers or ())
            if (when := self._tier(document, number, tier.when)) is not None
        ]
        fixed, cost = self._cost(document)
        limit = LimitRule(
            document.name,
            tuple(part for part in per if part),
            spec.to_rate().share(self._processes),
            tuple(tiers),
            fixed,
            cost,
        )
        return replace(limit, of_identity=all(map(_of_identity, _asked((), [limit]))))

    def _tier(self, document: Document[LimitSpec], number: int, source: str) -> Condition | None:
        where = ("spec", "tiers", number, "when")
        when = self._try(document, where, self._compiler.condition, source)
        if when is not None and not when.inspection.names <= _TIER_VARIABLES:
            odd = ", ".join(f"`{name}`" for name in sorted(when.inspection.names - _TIER_VARIABLES))
            what = (
                f"a tier reads only key_id, customer, scopes and labels of the identity, not {odd}: remove it"
            )
            self._result.faults.append(document.fault(what, *where))
        return when

    def _cost(self, document: Document[LimitSpec]) -> tuple[float, Expression | None]:
        """Return a cost that is written as a number, or the expression that gives it."""
        source = document.spec.cost
        if not _NUMBER.fullmatch(source):
            return 1.0, self._try(document, ("spec", "cost"), self._compiler.number, source)
        fixed = float(source)
        if not math.isfinite(fixed) or fixed < 0.0:
            what = f"a cost is a finite number >= 0, not `{source.strip()}`: write one"
            self._result.faults.append(document.fault(what, "spec", "cost"))
        elif fixed > document.spec.to_rate().burst_tokens:
            what = f"a cost of `{source.strip()}` exceeds the burst, so nothing passes: raise `burst`"
            self._result.warnings.append(document.fault(what, "spec", "cost", code="cost-exceeds-burst"))
        return fixed, None

    def _try(
        self,
        document: Document[PolicySpec] | Document[LimitSpec],
        where: Where,
        compile_: Callable[[str], _Compiled],
        source: str,
    ) -> _Compiled | None:
        try:
            compiled = compile_(source)
        except ExpressionFault as fault:
            self._result.faults.append(document.fault(str(fault), *where))
            return None
        self._result.names |= compiled.inspection.names
        return compiled


def network(text: str) -> Network:
    """Return a CIDR as a range of integers."""
    parsed = ipaddress.ip_network(text)
    return Network(parsed.version, int(parsed.network_address), int(parsed.broadcast_address))


def _headers(document: Document[PolicySpec]) -> dict[str, str]:
    on_allow = document.spec.on_allow
    return dict(on_allow.headers) if on_allow is not None else {}


def _of_identity(expression: Condition | Expression) -> bool:
    return all(name.startswith("identity.") for name in expression.inspection.names)


def _place(index: Index, compiled: Rule, host: HostPattern, rule: RuleSpec) -> None:
    paths = _grpc_paths(rule.grpc) if rule.grpc else map(parse_path, rule.paths or ())
    index.add(compiled, host, paths if rule.grpc or rule.paths else _EVERY_PATH)


def _asked(
    headers: Iterable[tuple[str, Expression]], limits: Iterable[LimitRule]
) -> Iterator[Condition | Expression]:
    """Every expression that a grant is made from."""
    for _, expression in headers:
        yield expression
    for limit in limits:
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


def _site(document: Document[SiteSpec], processes: int) -> Site:
    spec = document.spec
    written = spec.on_deny or {}
    default = written.get("default")
    refusals = {
        coarse: _refusal(written.get(coarse), default)
        for coarse in Coarse
        if coarse in written or default is not None
    }
    return Site(
        name=document.name,
        keep_matrix=spec.path.matrix_parameters == "keep",
        keep_slashes=spec.path.encoded_slash == "keep",
        path_max_bytes=spec.path.max_bytes,
        remove_method_override=spec.method_override == "remove",
        full_reasons=spec.reasons == "full",
        refusals=refusals,
        guard=spec.guard.to_rate().share(processes) if spec.guard is not None else None,
    )


def _refusal(own: RefusalSpec | None, default: RefusalSpec | None) -> Refusal:
    """What an entry leaves out, `default` fills, field by field."""
    redirect = (own and own.redirect) or (default and default.redirect)
    headers = (own and own.headers) or (default and default.headers) or {}
    return Refusal(
        Redirect(redirect.to, redirect.return_to or "") if redirect else None, tuple(headers.items())
    )

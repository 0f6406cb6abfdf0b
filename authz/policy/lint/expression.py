"""Expressions that fail for some requests, and conditions that say the same about every request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from authz.model.errors import PolicyError
from authz.policy.condition import Compiler, Condition, Expression
from authz.policy.hazard import hazards, only_denies, tree_of
from authz.policy.host import parse_host
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.lint.constant import constant
from authz.policy.loaded import Document, Loaded
from authz.policy.path import parse_path
from authz.policy.source import Path

# What nobody has who came without a credential.
_PROVEN = frozenset(("identity.key_id", "identity.customer", "identity.subject", "identity.provider"))
_PARAMETER = re.compile(r"params\['(.*)'\]")

_FAILS = {
    "deny": "a deny rule that fails denies",
    "allow": "an allow rule that fails does not allow",
    "headers": "the request is then refused",
    "limit": "the request is then refused, and nothing is spent",
}


class _Use(NamedTuple):
    """One place where an expression is evaluated: for the requests of some rules."""

    document: Document[PolicySpec] | Document[LimitSpec]
    at: Path
    effect: str  # a key of _FAILS
    compiled: Condition | Expression
    rules: tuple[tuple[PolicySpec, Rule], ...]


def about_expressions(loaded: Loaded, compiler: Compiler) -> Iterator[PolicyError]:
    """Yield a warning for each expression that has no value, or always the same, for some requests."""
    for document in loaded.policies:
        for use in _of_policy(document, compiler):
            yield from _failing(use)
        for number, rule in enumerate(document.spec.rules):
            if rule.when is not None:
                yield from _always(document, number, rule, compiler.condition(rule.when))
    users = _users(loaded)
    for limit in loaded.limits:
        for use in _of_limit(limit, compiler, tuple(users.get(limit.name, ()))):
            yield from _failing(use)
        yield from _nameless(limit, users.get(limit.name, []))


def _of_policy(document: Document[PolicySpec], compiler: Compiler) -> Iterator[_Use]:
    spec = document.spec
    for number, rule in enumerate(spec.rules):
        if rule.when is not None:
            at = ("spec", "rules", number, "when")
            yield _Use(document, at, rule.effect, compiler.condition(rule.when), ((spec, rule),))
    allowing = tuple((spec, rule) for rule in spec.rules if rule.effect == "allow")
    for name, source in (spec.on_allow.headers if spec.on_allow is not None else {}).items():
        yield _Use(document, ("spec", "onAllow", "headers", name), "headers", compiler.text(source), allowing)


def _users(loaded: Loaded) -> dict[str, list[tuple[PolicySpec, Rule]]]:
    found: dict[str, list[tuple[PolicySpec, Rule]]] = {}
    for document in loaded.policies:
        for rule in document.spec.rules:
            for name in rule.limits or ():
                found.setdefault(name, []).append((document.spec, rule))
    return found


def _of_limit(
    document: Document[LimitSpec], compiler: Compiler, rules: tuple[tuple[PolicySpec, Rule], ...]
) -> Iterator[_Use]:
    spec = document.spec
    for number, source in enumerate(spec.per):
        yield _Use(document, ("spec", "per", number), "limit", compiler.text(source), rules)
    for number, tier in enumerate(spec.tiers or ()):
        at = ("spec", "tiers", number, "when")
        yield _Use(document, at, "limit", compiler.condition(tier.when), rules)
    yield _Use(document, ("spec", "cost"), "limit", compiler.number(spec.cost), rules)


def _failing(use: _Use) -> Iterator[PolicyError]:
    for access in use.compiled.inspection.unguarded:
        parameter = _PARAMETER.fullmatch(access)
        if parameter is not None:
            yield from _uncaptured(use, parameter[1])
        elif use.effect != "deny":  # of a deny rule, compiling it tells
            what = f"`{access}` fails where the key is missing, and {_FAILS[use.effect]}: {_guarded(access)}"
            yield use.document.fault(what, *use.at, code="expression-can-fail")
    checked = tree_of(use.compiled)
    for hazard in hazards(checked) if checked is not None else ():
        if not hazard.segments or _shortest(use.rules) < hazard.segments:
            what = f"{hazard.what} fails, and {_FAILS[use.effect]}: {hazard.mend}"
            yield use.document.fault(what, *use.at, code="expression-can-fail")


def _guarded(access: str) -> str:
    """Say how to write an access to a map so that it has a value where the key is missing."""
    of, bracket, key = access.rpartition("[")
    return f"write `{of}[?{key}.orValue(...)`" if bracket else "use `[?...]`"


def _uncaptured(use: _Use, name: str) -> Iterator[PolicyError]:
    """A capture that every host and path pattern of a rule has is always there."""
    for spec, rule in use.rules:
        if not _captures(spec, rule, name):
            what = (
                f"`params.{name}` fails where no pattern captures it, as in the rule `{rule.name}`, and"
                f" {_FAILS[use.effect]}: write `{{{name}}}` into its hosts or paths, or use `[?...]`"
            )
            yield use.document.fault(what, *use.at, code="expression-can-fail")
            return


def _captures(spec: PolicySpec, rule: Rule, name: str) -> bool:
    if all(parse_host(text).capture == name for text in spec.hosts):
        return True
    paths = [dict(parse_path(text).captures) for text in rule.paths or ()]
    return bool(paths) and all(name in captures for captures in paths)


def _shortest(rules: tuple[tuple[PolicySpec, Rule], ...]) -> int:
    """Return how many segments the shortest path has that these rules match."""
    lengths = [2 if rule.grpc is not None else _shortest_path(rule) for _, rule in rules]
    return min(lengths, default=0)


def _shortest_path(rule: Rule) -> int:
    return min((len(parse_path(text).segments) for text in rule.paths or ()), default=0)


def _always(
    document: Document[PolicySpec], number: int, rule: Rule, when: Condition
) -> Iterator[PolicyError]:
    at = ("spec", "rules", number, "when")
    value = constant(when, document.spec, rule)
    if value is not None:
        what = f"this is {value} for every request that the rule matches: remove `when`, or the rule"
        yield document.fault(what, *at, code="constant-condition")
    checked = tree_of(when)
    if (
        rule.effect == "allow"
        and "anyone" in (rule.identity or ())
        and checked is not None
        and only_denies(checked.expr)
    ):
        what = (
            "whoever is not named here gets in, and nobody is asked who they are: say who may, or keep the"
            " rule for anyone and write a deny rule beside it"
        )
        yield document.fault(what, *at, code="negative-only-rule")


def _nameless(limit: Document[LimitSpec], users: list[tuple[PolicySpec, Rule]]) -> Iterator[PolicyError]:
    """A bucket whose name would be empty refuses: so a limit per key keeps those out who have none."""
    for number, source in enumerate(limit.spec.per):
        if source.strip() not in _PROVEN:
            continue
        for _, rule in users:
            nobody = {"anyone", "anonymous"} & {*(rule.identity or ())}
            if nobody and "identity." not in (rule.when or ""):
                what = (
                    f"`{source.strip()}` is empty without a credential, and the rule `{rule.name}` is for"
                    f" `{min(nobody)}` too, who are refused: count them by `client.network` in another limit"
                )
                yield limit.fault(what, "spec", "per", number, code="limit-name-empty")
                break

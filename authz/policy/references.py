"""What the documents of a set must agree on, as far as no condition needs to be read for it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

from authz.model.errors import PolicyError
from authz.model.identity import PlaceKind
from authz.policy.guards import left_unguarded
from authz.policy.host import parse_host
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.leaf import Ties
from authz.policy.loaded import Document, Documents, Loaded
from authz.policy.shape import Model
from authz.policy.source import Path
from authz.policy.texts import plain_header

MAX_GUESSED = 200  # names to look for a near miss in: it takes 10 us each

Faults = Iterator[PolicyError]
_Spec = TypeVar("_Spec", bound=Model)


def faults_between(loaded: Loaded) -> Faults:
    """Yield everything on which the documents of a set disagree."""
    for kind in loaded.kinds():
        if kind.group.repeats and kind.kind not in ("Customer", "Scope"):  # theirs are looked at elsewhere
            yield from _twice(kind, lambda document: document.name, ("metadata", "name"), "name")
    if loaded.keys.group.repeats_ids:
        yield from _twice(loaded.keys, lambda document: document.spec.id, ("spec", "id"), "key id")
    limits = {document.name: document.spec for document in loaded.limits}
    yield from _policies(loaded, limits)
    yield from _keys(loaded, limits)
    yield from _customers(loaded, limits)
    for limit in loaded.limits:
        if limit.spec.tiers and not _is_per(limit.spec, "identity.key_id"):
            what = "tiers need `identity.key_id` in `per`, or one bucket would have two rates: add it"
            yield limit.fault(what, "spec", "tiers", at_key=True)
    yield from _sites(loaded)
    yield from _tests(loaded, limits)


def warnings_about(loaded: Loaded, *, whole: bool = True) -> Faults:
    """Yield what deserves a look but is no fault.

    Args:
        whole: every document of the set could be read; else nobody knows what a limit is for.
    """
    for provider in loaded.providers:
        for index, place in enumerate(provider.spec.places):
            if place.kind is PlaceKind.QUERY:
                what = f"a key in the query (`{place.name}`) ends up in logs and histories: prefer a header"
                yield provider.fault(what, "spec", "apiKey", "in", index, code="key-in-query")
    yield from loaded.policies.warnings()
    yield from left_unguarded(loaded)
    if whole:
        yield from _unused_limits(loaded)


def _unused_limits(loaded: Loaded) -> Faults:
    used = frozenset().union(*(ties.limits for ties in loaded.policies.group.ties))
    for limit in loaded.limits:
        if limit.name not in used:
            what = f"no rule uses the limit `{limit.name}`: name it in `limits` of a rule, or remove it"
            yield limit.fault(what, "metadata", "name", code="unused-limit")


def _twice(
    documents: Documents[_Spec], key: Callable[[Document[_Spec]], object], path: Path, what: str
) -> Faults:
    first: dict[object, Document[_Spec]] = {}
    for document in documents:
        other = first.setdefault(key(document), document)
        if other is not document:
            text = f"the {what} `{_last(key(document))}` is taken by {other.place(*path)}: choose another"
            yield document.fault(text, *path)


def _last(key: object) -> object:
    return key[-1] if isinstance(key, tuple) else key


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    guess = difflib.get_close_matches(name, list(known), n=1) if len(known) <= MAX_GUESSED else []
    mend = f"did you mean `{guess[0]}`?" if guess else "write the document, or remove the name"
    return f"there is no {what} `{name}`: {mend}"


def _policies(loaded: Loaded, limits: Mapping[str, LimitSpec]) -> Faults:
    providers = {document.name for document in loaded.providers}
    taken = _credential_headers(loaded)

    def odd(ties: Ties) -> bool:
        headers = any(plain_header(name) in taken for name, _ in ties.headers)
        return headers or not (ties.providers <= providers and ties.limits <= limits.keys())

    for policy in loaded.policies.tied(odd):
        yield from _rules(policy, providers, limits)
        headers = policy.spec.on_allow.headers if policy.spec.on_allow else {}
        for header in headers:
            provider = taken.get(plain_header(header))
            if provider is not None:
                what = f"`{header}` holds the credential of the provider `{provider}`: choose another name"
                yield policy.fault(what, "spec", "onAllow", "headers", header, at_key=True)


def _rules(policy: Document[PolicySpec], providers: set[str], limits: Mapping[str, LimitSpec]) -> Faults:
    for index, rule in enumerate(policy.spec.rules):
        at = ("spec", "rules", index)
        for item, name in enumerate(rule.identity or ()):
            if name not in providers and name not in ("anonymous", "anyone"):
                known = providers | {"anonymous", "anyone"}
                yield policy.fault(_unknown("identity provider", name, known), *at, "identity", item)
        for item, name in enumerate(rule.limits or ()):
            if name not in limits:
                yield policy.fault(_unknown("limit", name, limits), *at, "limits", item)


def _credential_headers(loaded: Loaded) -> dict[str, str]:
    """Return every header that may hold a credential, as headers are compared, with its provider."""
    taken: dict[str, str] = {}
    for provider in loaded.providers:
        for place in provider.spec.places:
            if place.kind is not PlaceKind.QUERY:
                header = place.name if place.kind is PlaceKind.HEADER else "cookie"
                taken.setdefault(plain_header(header), provider.name)
    return taken


def _keys(loaded: Loaded, limits: Mapping[str, LimitSpec]) -> Faults:
    providers = {document.name: document.spec for document in loaded.providers}
    takers = {name for name, spec in providers.items() if spec.api_key is not None}
    ours = {name for name, spec in limits.items() if _is_per(spec, "identity.key_id")}
    for key in loaded.keys.tied(lambda ties: not (ties.providers <= takers and ties.limits <= ours)):
        provider = providers.get(key.spec.provider)
        if provider is None:
            yield key.fault(_unknown("identity provider", key.spec.provider, providers), "spec", "provider")
        elif provider.api_key is None:
            what = f"the provider `{key.spec.provider}` does not take API keys: name one with `apiKey`"
            yield key.fault(what, "spec", "provider")
        yield from _overrides(key, limits, "identity.key_id")


def _customers(loaded: Loaded, limits: Mapping[str, LimitSpec]) -> Faults:
    spaces = loaded.namespaces
    ours = {name for name, spec in limits.items() if _is_per(spec, "identity.customer")}

    def odd(ties: Ties) -> bool:
        known = ties.customer in spaces or (ties.customer == "" and len(spaces) == 1)
        return not (known and ties.limits <= ours)

    for customer in loaded.customers.tied(odd):
        space = customer.spec.customers
        if space is None and len(spaces) != 1:
            known = ", ".join(f"`{name}`" for name in sorted(spaces)) or "no identity provider"
            what = f"`spec.customers` is missing, and the set has {known}: write the name space"
            yield customer.fault(what, "spec")
        elif space is not None and space not in spaces:
            yield customer.fault(_unknown("name space of customers", space, spaces), "spec", "customers")
        yield from _overrides(customer, limits, "identity.customer")
    if loaded.customers.group.repeats:
        yield from _twice(
            loaded.customers,
            lambda one: (loaded.customer_namespace(one), one.name),
            ("metadata", "name"),
            "name",
        )


def _overrides(
    document: Document[ApiKeySpec] | Document[CustomerSpec], limits: Mapping[str, LimitSpec], needed: str
) -> Faults:
    for name in document.spec.limits or {}:
        if name not in limits:
            yield document.fault(_unknown("limit", name, limits), "spec", "limits", name, at_key=True)
        elif not _is_per(limits[name], needed):
            what = (
                f"the limit `{name}` is not `per` `{needed}`, and a bucket has one rate: remove the override"
            )
            yield document.fault(what, "spec", "limits", name, at_key=True)


def _is_per(limit: LimitSpec, attribute: str) -> bool:
    return any(text.strip() == attribute for text in limit.per)


def _sites(loaded: Loaded) -> Faults:
    first: dict[object, str] = {}
    for site in loaded.sites:
        for index, text in enumerate(site.spec.hosts):
            place = site.place("spec", "hosts", index)
            other = first.setdefault(parse_host(text).rank, f"{text}` at {place}")
            if other != f"{text}` at {place}":
                what = f"`{text}` ranks with `{other}: a host has one Site: remove one"
                yield site.fault(what, "spec", "hosts", index)


def _tests(loaded: Loaded, limits: Mapping[str, LimitSpec]) -> Faults:
    if not loaded.tests:
        return
    keys = {leaf.name for leaf in loaded.keys.leaves}
    providers = {document.name for document in loaded.providers}
    rules = {leaf.name: leaf.ties.rules for leaf in loaded.policies.leaves}
    for test in loaded.tests:
        for index, case in enumerate(test.spec.cases):
            at = ("spec", "cases", index)
            if case.credential is not None and case.credential.key not in keys:
                yield test.fault(_unknown("API key", case.credential.key, keys), *at, "credential", "key")
            if case.identity is not None and case.identity.provider not in providers:
                what = _unknown("identity provider", case.identity.provider, providers)
                yield test.fault(what, *at, "identity", "provider")
            yield from _expectations(test, index, rules, limits)


def _expectations(
    test: Document[PolicyTestSpec],
    index: int,
    rules: Mapping[str, Collection[str]],
    limits: Mapping[str, LimitSpec],
) -> Faults:
    expect = test.spec.cases[index].expect
    at = ("spec", "cases", index, "expect")
    if expect.policy is not None and expect.policy not in rules:
        yield test.fault(_unknown("policy", expect.policy, rules), *at, "policy")
    elif expect.policy is not None and expect.rule is not None and expect.rule not in rules[expect.policy]:
        yield test.fault(_unknown("rule", expect.rule, rules[expect.policy]), *at, "rule")
    for item, name in enumerate(expect.limits or ()):
        if name not in limits:
            yield test.fault(_unknown("limit", name, limits), *at, "limits", item)

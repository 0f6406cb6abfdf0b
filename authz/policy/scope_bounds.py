"""Which documents of a scope go beyond its bounds.

SECURITY: whoever writes the documents of a scope is trusted within it and nowhere else. What a document could
do to others is refused here, kind by kind:

    Policy, Site       hosts outside; providers and limits of others
    PolicyTest         requests for other hosts; documents of other scopes, which could then not be changed
    ApiKey, Customer   customers and providers outside; other rates for limits that are not the scope's own
    IdentityProvider   places where nobody looks for credentials so far, which every host would feel; the
                       customers of others
    all                kinds that the scope does not have; names that are another's
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from authz.model.errors import PolicyError
from authz.model.identity import CredentialPlace
from authz.policy.host import HostPattern, parse_host, tidied
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec, TestCase
from authz.policy.loaded import AnyDocument, Loaded, namespace_of
from authz.policy.scopes import Bounds

_ANYBODY = ("anonymous", "anyone")
_Kinds = dict[str, list[Any]]

Faults = Iterator[PolicyError]


@dataclass(frozen=True, slots=True)
class Around:
    """What a scope finds around it.

    Args:
        foreign: kind -> names of documents of other scopes, which are none of its business.
        own_limits: names of the limits of the scope itself.
        places: where providers of the platform look for credentials.
        namespaces: name spaces of customers, by provider, of every provider that is not the scope's own.
    """

    foreign: Mapping[str, frozenset[str]]
    own_limits: frozenset[str]
    places: frozenset[CredentialPlace]
    namespaces: Mapping[str, str]


def breaches(loaded: Loaded, bounds: Iterable[Bounds], scope_of: Callable[[str], str]) -> Faults:
    """Yield everything by which documents of scopes go beyond their bounds.

    Args:
        scope_of: name of a file -> the scope that it belongs to, "" for the platform.
    """
    owners = _by_scope(loaded, scope_of)
    for bound in bounds:
        own = owners.get(bound.name)
        if own is not None:
            yield from _of_scope(own, bound, _around(owners, bound.name))


def _by_scope(loaded: Loaded, scope_of: Callable[[str], str]) -> dict[str, list[AnyDocument]]:
    found: dict[str, list[AnyDocument]] = {}
    for document in loaded.documents():
        found.setdefault(scope_of(document.file), []).append(document)
    return found


def _around(owners: Mapping[str, list[AnyDocument]], name: str) -> Around:
    foreign: dict[str, set[str]] = {}
    places: set[CredentialPlace] = set()
    namespaces: dict[str, str] = {}
    for owner, documents in owners.items():
        for document in documents:
            if owner not in ("", name):
                foreign.setdefault(document.kind, set()).add(document.name)
            if owner != name and isinstance(document.spec, IdentityProviderSpec):
                namespaces[document.name] = namespace_of(document)  # type: ignore[arg-type]  # by its spec
                if not owner:
                    places.update(document.spec.places)
    return Around(
        {kind: frozenset(names) for kind, names in foreign.items()},
        frozenset(document.name for document in owners[name] if document.kind == "Limit"),
        frozenset(places),
        namespaces,
    )


def _of_scope(own: Iterable[AnyDocument], bounds: Bounds, around: Around) -> Faults:
    for document in own:
        yield from _kind_and_name(document, bounds)
        match document.spec:
            case PolicySpec():
                yield from _policy(document, document.spec, bounds, around)
            case SiteSpec():
                yield from _hosts(document, document.spec.hosts, bounds)
            case ApiKeySpec():
                yield from _key(document, document.spec, bounds, around)
            case CustomerSpec():
                yield from _customer(document, document.spec, bounds, around)
            case IdentityProviderSpec():
                yield from _provider(document, document.spec, bounds, around)
            case PolicyTestSpec():
                yield from _test(document, document.spec, bounds, around)


def _kind_and_name(document: AnyDocument, bounds: Bounds) -> Faults:
    scope = bounds.name
    if document.kind not in bounds.spec.kinds:
        kinds = ", ".join(bounds.spec.kinds)
        yield document.fault(f"the scope `{scope}` holds no {document.kind}, only {kinds}: remove it", "kind")
    if document.kind in ("Customer", "IdentityProvider"):
        return  # these have the names of whom they speak about
    if not bounds.names(document.name):
        allowed = ", ".join(f"`{name}`" for name in bounds.spec.names or (scope, f"{scope}-*"))
        what = f"the scope `{scope}` has the names {allowed}, not `{document.name}`: rename it"
        yield document.fault(what, "metadata", "name")


def _policy(document: AnyDocument, spec: PolicySpec, bounds: Bounds, around: Around) -> Faults:
    yield from _hosts(document, spec.hosts, bounds)
    for number, rule in enumerate(spec.rules):
        at = ("spec", "rules", number)
        for index, name in enumerate(rule.identity or ()):
            if name not in _ANYBODY and not bounds.provides(name):
                yield document.fault(_not_given("provider", name, bounds), *at, "identity", index)
        for index, name in enumerate(rule.limits or ()):
            yield from _foreign(document, "Limit", name, bounds, around, (*at, "limits", index))


def _hosts(document: AnyDocument, hosts: Iterable[str], bounds: Bounds) -> Faults:
    for index, text in enumerate(hosts):
        if not bounds.covers(parse_host(text)):
            yield document.fault(_outside(text, bounds), "spec", "hosts", index)


def _outside(host: str, bounds: Bounds) -> str:
    hosts = ", ".join(f"`{text}`" for text in bounds.spec.hosts[:5])
    return f"`{host}` is not among the hosts of the scope `{bounds.name}` ({hosts}): remove it"


def _not_given(what: str, name: str, bounds: Bounds) -> str:
    return (
        f"the {what} `{name}` is not among the `{what}s` of the scope `{bounds.name}`: remove it, or have the"
        " Scope changed"
    )


def _foreign(
    document: AnyDocument, kind: str, name: str, bounds: Bounds, around: Around, at: tuple[str | int, ...]
) -> Faults:
    if name in around.foreign.get(kind, ()):
        what = f"the {kind} `{name}` is another scope's: `{bounds.name}` names its own and the platform's"
        yield document.fault(what, *at)


def _key(document: AnyDocument, spec: ApiKeySpec, bounds: Bounds, around: Around) -> Faults:
    if not bounds.provides(spec.provider):
        yield document.fault(_not_given("provider", spec.provider, bounds), "spec", "provider")
    if not bounds.holds(spec.customer):
        yield document.fault(_not_given("customer", spec.customer, bounds), "spec", "customer")
    yield from _rates(document, spec.limits or {}, bounds, around)


def _customer(document: AnyDocument, spec: CustomerSpec, bounds: Bounds, around: Around) -> Faults:
    if not bounds.holds(document.name):
        yield document.fault(_not_given("customer", document.name, bounds), "metadata", "name")
    spaces = {around.namespaces.get(provider, provider) for provider in bounds.spec.providers or ()}
    every = set(around.namespaces.values()) | spaces
    space = spec.customers or (next(iter(every)) if len(every) == 1 else "")
    if space and space not in spaces:
        what = f"the scope `{bounds.name}` has no provider with customers of `{space}`: remove the document"
        yield document.fault(what, "spec", "customers")
    yield from _rates(document, spec.limits or {}, bounds, around)


def _rates(document: AnyDocument, limits: Iterable[str], bounds: Bounds, around: Around) -> Faults:
    """SECURITY: a limit of the platform holds for whoever it is put upon."""
    for name in limits:
        if name not in around.own_limits:
            what = f"the limit `{name}` is not the scope's own, so `{bounds.name}` may not change its rate"
            yield document.fault(what, "spec", "limits", name, at_key=True)


def _provider(document: AnyDocument, spec: IdentityProviderSpec, bounds: Bounds, around: Around) -> Faults:
    if not bounds.provides(document.name):
        yield document.fault(_not_given("provider", document.name, bounds), "metadata", "name")
    listed = {space for provider, space in around.namespaces.items() if bounds.provides(provider)} | {
        document.name
    }
    space = spec.customers or document.name
    if space not in listed:
        what = f"the customers of `{space}` are not the scope's: leave `customers` out"
        yield document.fault(what, "spec", "customers")
    variant = "apiKey" if spec.api_key is not None else "jwt"
    for index, place in enumerate(spec.places):
        if place not in around.places:
            what = (
                "no provider of the platform looks for credentials here, and every host would feel it: choose"
                " a place of theirs"
            )
            yield document.fault(what, "spec", variant, "in", index)


def _test(document: AnyDocument, spec: PolicyTestSpec, bounds: Bounds, around: Around) -> Faults:
    for number, case in enumerate(spec.cases):
        at = ("spec", "cases", number)
        host = _tested(case.request.host)
        if host is not None and not bounds.covers(host):
            yield document.fault(_outside(case.request.host, bounds), *at, "request", "host")
        yield from _named_by(document, case, bounds, around, at)


def _named_by(
    document: AnyDocument, case: TestCase, bounds: Bounds, around: Around, at: tuple[str | int, ...]
) -> Faults:
    if case.credential is not None:
        where = (*at, "credential", "key")
        yield from _foreign(document, "ApiKey", case.credential.key, bounds, around, where)
    if case.identity is not None and not bounds.provides(case.identity.provider):
        what = _not_given("provider", case.identity.provider, bounds)
        yield document.fault(what, *at, "identity", "provider")
    if case.expect.policy is not None:
        where = (*at, "expect", "policy")
        yield from _foreign(document, "Policy", case.expect.policy, bounds, around, where)
    for index, name in enumerate(case.expect.limits or ()):
        yield from _foreign(document, "Limit", name, bounds, around, (*at, "expect", "limits", index))


def _tested(host: str) -> HostPattern | None:
    """Return the host of a tested request; None where it is none, and so is refused unseen."""
    try:
        pattern = parse_host(tidied(host))
    except ValueError:
        return None
    return pattern if pattern.kind == "exact" else None

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

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from authz.model.errors import PolicyError
from authz.model.identity import CredentialPlace
from authz.policy.host import HostPattern, parse_host, tidied
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec, TestCase
from authz.policy.loaded import AnyDocument, Document, Loaded, namespace_of
from authz.policy.page import Page
from authz.policy.scopes import Bounds
from authz.policy.shape import Model

_ANYBODY = ("anonymous", "anyone")

Faults = Iterator[PolicyError]


class Around:
    """What the scopes of a set find around them, worked out as far as somebody asks."""

    def __init__(self, loaded: Loaded, scope_of: Callable[[str], str]) -> None:
        self.pages = loaded.limits.pages
        self.scope_of = scope_of
        self._owners: dict[str, dict[str, str]] = {}
        self._providers = [(scope_of(one.file), one) for one in loaded.providers]

    def owner(self, kind: str, name: str) -> str | None:
        """Return the scope that has a document, "" for the platform; None where nobody has."""
        owners = self._owners.get(kind)
        if owners is None:
            owners = self._owners[kind] = {
                leaf.name: self.scope_of(page.file)
                for page in self.pages
                for leaf in page.by_kind.get(kind, ())
            }
        return owners.get(name)

    @cached_property
    def places(self) -> frozenset[CredentialPlace]:
        """Where providers of the platform look for credentials."""
        return frozenset(
            place for owner, provider in self._providers if not owner for place in provider.spec.places
        )

    def namespaces(self, scope: str) -> dict[str, str]:
        """Return the name spaces of customers, by provider, of every provider that is not the scope's own."""
        return {one.name: namespace_of(one) for owner, one in self._providers if owner != scope}


# What clears a document of suspicion, besides itself: every Scope, since they say whose each document is, its
# own among them; the limits and the providers of the set.
_Token = tuple[object, object, object, object]


class Inspector:
    """Holds the documents of one set after the other to the bounds of their scopes.

    A file that was found to be within its bounds is not looked at again while nothing has changed that its
    documents were held to. Tests name documents of every kind, and are few: they are always looked at.

    Args:
        pace: called for each file that is looked at, so that others have their turn.
    """

    def __init__(self, pace: Callable[[], None] = lambda: None) -> None:
        self._pace = pace
        self._cleared: dict[Page, _Token] = {}
        self._scopes: tuple[object, ...] = ()

    def breaches(self, loaded: Loaded, bounds: Iterable[Bounds], scope_of: Callable[[str], str]) -> Faults:
        """Yield everything by which documents of scopes go beyond their bounds.

        Args:
            scope_of: name of a file -> the scope that it belongs to, "" for the platform.
        """
        by_name = {bound.name: bound for bound in bounds}
        scopes = tuple(bound.document.leaf for bound in by_name.values())
        if scopes != self._scopes:
            self._scopes = scopes
        around = Around(loaded, scope_of)
        before, self._cleared = self._cleared, {}
        for page in around.pages:
            bound = by_name.get(scope_of(page.file))
            if bound is None:
                continue
            token = (bound.document.leaf, self._scopes, loaded.limits.group, loaded.providers.group)
            known = before.get(page) == token
            good = True
            if not known or "PolicyTest" in page.by_kind:
                self._pace()
                for fault in _of_page(page, bound, around, tests_alone=known):
                    good = False
                    yield fault
            if good:
                self._cleared[page] = token


def breaches(loaded: Loaded, bounds: Iterable[Bounds], scope_of: Callable[[str], str]) -> Faults:
    """See `Inspector`."""
    return Inspector().breaches(loaded, bounds, scope_of)


def _of_page(page: Page, bounds: Bounds, around: Around, *, tests_alone: bool) -> Faults:
    documents = [
        Document[Model](leaf, page, number)
        for number, leaf in enumerate(page.leaves)
        if not tests_alone or leaf.kind == "PolicyTest"
    ]
    return _of_scope(documents, bounds, around)


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
    if around.owner(kind, name) not in (None, "", bounds.name):
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
    namespaces = around.namespaces(bounds.name)
    spaces = {namespaces.get(provider, provider) for provider in bounds.spec.providers or ()}
    every = set(namespaces.values()) | spaces
    space = spec.customers or (next(iter(every)) if len(every) == 1 else "")
    if space and space not in spaces:
        what = f"the scope `{bounds.name}` has no provider with customers of `{space}`: remove the document"
        yield document.fault(what, "spec", "customers")
    yield from _rates(document, spec.limits or {}, bounds, around)


def _rates(document: AnyDocument, limits: Iterable[str], bounds: Bounds, around: Around) -> Faults:
    """SECURITY: a limit of the platform holds for whoever it is put upon."""
    for name in limits:
        if around.owner("Limit", name) != bounds.name:
            what = f"the limit `{name}` is not the scope's own, so `{bounds.name}` may not change its rate"
            yield document.fault(what, "spec", "limits", name, at_key=True)


def _provider(document: AnyDocument, spec: IdentityProviderSpec, bounds: Bounds, around: Around) -> Faults:
    if not bounds.provides(document.name):
        yield document.fault(_not_given("provider", document.name, bounds), "metadata", "name")
    namespaces = around.namespaces(bounds.name).items()
    listed = {space for provider, space in namespaces if bounds.provides(provider)} | {document.name}
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

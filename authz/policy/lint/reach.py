"""Policies and rules that never come to speak, or say what is said already."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from authz.model.errors import PolicyError
from authz.policy.cover import HostSet, covering_keys, identities_cover, network_covers, reach_covers
from authz.policy.host import HostPattern, parse_host
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.loaded import Document, Loaded, canonical_json

# Source: IANA's registries of special-purpose addresses: no packet comes from one of these.
_NOBODYS = tuple(map(ipaddress.ip_network, ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")))
# Source: the SPIFFE ID standard, section 2: the trust domain in lower case, segments that are not empty.
_SPIFFE = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._-]+)*(/\*)?")


class _Place(NamedTuple):
    """A rule, and where it stands."""

    document: Document[PolicySpec]
    number: int
    rule: Rule
    hosts: tuple[HostPattern, ...]

    @property
    def shown(self) -> str:
        return f"`{self.document.name}/{self.rule.name}`"


def about_reach(
    loaded: Loaded, served: Sequence[str] = (), *, overrides: bool = False
) -> Iterator[PolicyError]:
    """Yield a warning for each policy and rule that has no effect.

    Args:
        served: hosts that the listener is bound to; empty: every host.
        overrides: documents that are meant to do nothing but deny.
    """
    places = list(_places(loaded))
    if not overrides:
        yield from _negative_policies(loaded)
    yield from _unreachable(places)
    yield from _duplicates(places)
    for place in places:
        yield from _cannot_match(place)
    for key in loaded.keys:
        for number, text in enumerate(key.spec.addresses or ()):
            if _is_nobodys(text):
                yield key.fault(_no_client(text), "spec", "addresses", number, code="cannot-match")
    if served:
        yield from _not_served(loaded, served)


def _places(loaded: Loaded) -> Iterator[_Place]:
    for document in loaded.policies:
        hosts = tuple(map(parse_host, document.spec.hosts))
        for number, rule in enumerate(document.spec.rules):
            yield _Place(document, number, rule, hosts)


def _negative_policies(loaded: Loaded) -> Iterator[PolicyError]:
    allowing = HostSet()
    for document in loaded.policies:
        if document.spec.mode == "enforce" and any(rule.effect == "allow" for rule in document.spec.rules):
            allowing.add(map(parse_host, document.spec.hosts))
    for document in loaded.policies:
        if document.spec.mode == "enforce" and not any(
            allowing.meets(parse_host(text)) for text in document.spec.hosts
        ):
            what = (
                f"`{document.name}` only denies, and nothing is allowed on its hosts, so every request is"
                " refused there anyway: write what is allowed, or see that the hosts are spelled right"
            )
            yield document.fault(what, "spec", "hosts", code="negative-only-policy")


def _unreachable(places: list[_Place]) -> Iterator[PolicyError]:
    outvoting: dict[tuple[str, str], list[_Place]] = {}
    for place in places:
        rule = place.rule
        if rule.effect == "deny" and rule.when is None and place.document.spec.mode == "enforce":
            for host in place.hosts:
                outvoting.setdefault((host.kind, host.host), []).append(place)
    for place in places:
        if place.rule.effect == "allow":
            other = _outvoted_by(place, outvoting)
            if other is not None:
                what = (
                    f"this rule never allows: the deny rule {other.shown} at"
                    f" {other.document.place('spec', 'rules', other.number)} has no condition and covers it;"
                    " narrow that one, or remove this"
                )
                yield place.document.fault(
                    what, "spec", "rules", place.number, "name", code="unreachable-rule"
                )


def _outvoted_by(place: _Place, outvoting: dict[tuple[str, str], list[_Place]]) -> _Place | None:
    for key in covering_keys(place.hosts[0]):
        for other in outvoting.get(key, ()):
            if _outvotes(other, place):
                return other
    return None


def _outvotes(deny: _Place, allow: _Place) -> bool:
    wide, narrow = deny.rule, allow.rule
    return (
        reach_covers(deny.hosts, wide, allow.hosts, narrow)
        and identities_cover(wide, narrow)
        and (wide.upgrade is None or (narrow.upgrade is not None and {*narrow.upgrade} <= {*wide.upgrade}))
    )


def _duplicates(places: list[_Place]) -> Iterator[PolicyError]:
    """Two rules with one effect: whoever changes or removes one of them changes nothing, and wonders."""
    first: dict[bytes, _Place] = {}
    for place in places:
        other = first.setdefault(_essence(place), place)
        if other is not place:
            what = (
                f"{other.shown} at {other.document.place('spec', 'rules', other.number)} says just this"
                " already: remove one"
            )
            at = ("spec", "rules", place.number, "name")
            yield place.document.fault(what, *at, code="duplicate-rule")


def _essence(place: _Place) -> bytes:
    spec = place.document.spec
    fields = {
        name: sorted(value) if isinstance(value, tuple) and name != "grpc" else repr(value)
        for name in (
            "effect",
            "methods",
            "paths",
            "grpc",
            "identity",
            "peers",
            "addresses",
            "upgrade",
            "when",
        )
        if (value := getattr(place.rule, name)) is not None
    }
    allows = place.rule.effect == "allow"
    headers = dict(spec.on_allow.headers) if allows and spec.on_allow is not None else {}
    limits = sorted(place.rule.limits or ())
    return canonical_json([fields, headers, limits, sorted(spec.hosts), spec.mode])


def _cannot_match(place: _Place) -> Iterator[PolicyError]:
    rule, at = place.rule, ("spec", "rules", place.number)
    for number, text in enumerate(rule.addresses or ()):
        if _is_nobodys(text):
            yield place.document.fault(_no_client(text), *at, "addresses", number, code="cannot-match")
    for number, text in enumerate(rule.peers or ()):
        if text.startswith("spiffe:") and _SPIFFE.fullmatch(text) is None:
            what = (
                f"no workload is called `{text}`: a SPIFFE id has a trust domain in lower case and segments"
                " of letters, digits and `._-`; write it as the certificate has it"
            )
            yield place.document.fault(what, *at, "peers", number, code="cannot-match")
    if "websocket" in (rule.upgrade or ()) and rule.methods is not None and "GET" not in rule.methods:
        what = "a WebSocket is asked for with GET (RFC 6455, section 4.1): write `methods: [GET]`"
        yield place.document.fault(what, *at, "methods", code="cannot-match")


def _is_nobodys(text: str) -> bool:
    return any(network_covers(str(nobodys), text) for nobodys in _NOBODYS)


def _no_client(text: str) -> str:
    return f"no client has an address in `{text}`: write the network that is meant"


def _not_served(loaded: Loaded, served: Sequence[str]) -> Iterator[PolicyError]:
    reachable = HostSet()
    reachable.add(map(parse_host, served))
    for document in loaded.policies:
        if not any(reachable.meets(parse_host(text)) for text in document.spec.hosts):
            what = (
                f"the listener serves none of the hosts of `{document.name}`, so it is never asked: correct"
                " `spec.hosts`, or `--hosts`"
            )
            yield document.fault(what, "spec", "hosts", code="host-not-served")

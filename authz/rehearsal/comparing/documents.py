"""What changes in keys, customers, limits, and everything beside policies."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from authz.model.identity import PlaceKind
from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_limit import LimitSpec
from authz.policy.loaded import AnyDocument, Document
from authz.policy.shape import RateSpec
from authz.rehearsal.comparing.direction import Effect, reverse
from authz.rehearsal.comparing.facets import Facet, Facets, Reader
from authz.rehearsal.comparing.words import Change, between, differing, quoted

_NO_CUSTOMER = CustomerSpec()
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def of_limit(
    old: Document[LimitSpec] | None, new: Document[LimitSpec] | None, reader: Reader, used: frozenset[str]
) -> Iterator[Change]:
    """Yield what changes in a limit.

    Args:
        used: limits that enforcing rules name. One that comes or goes matters through them alone, and they
            are told of themselves.
    """
    if old is None or new is None:
        yield from _came("Limit", old, new, Effect.NONE, reader)
        return
    for name, before, after in _fields(old, new, reader):
        what = between(name, before, after)
        if new.name not in used:
            yield Change("Limit", new.name, "", f"{what} (no enforced rule names it)", Effect.NONE)
        elif old.spec.mode == new.spec.mode == "shadow":
            yield Change("Limit", new.name, "", f"{what} (in shadow)", Effect.NONE)
        else:
            yield Change("Limit", new.name, "", what, _of_limit_field(name, old.spec, new.spec))


def _of_limit_field(name: str, old: LimitSpec, new: LimitSpec) -> Effect:
    if name == "rate":
        return of_rates(old, new)
    if name == "mode":
        return Effect.WIDER if new.mode == "shadow" else Effect.NARROWER
    return Effect.EITHER


def of_rates(old: RateSpec, new: RateSpec) -> Effect:
    """Return what another rate does to those who are held to it."""
    before, after = old.to_rate(), new.to_rate()
    pairs = ((before.rate_per_s, after.rate_per_s), (before.burst_tokens, after.burst_tokens))
    if all(mine <= its for mine, its in pairs):
        return Effect.WIDER if any(mine < its for mine, its in pairs) else Effect.EITHER
    return Effect.NARROWER if all(mine >= its for mine, its in pairs) else Effect.EITHER


def of_provider(
    old: Document[IdentityProviderSpec] | None, new: Document[IdentityProviderSpec] | None, reader: Reader
) -> Iterator[Change]:
    """Yield what changes in a provider; one that comes or goes matters through the rules that name it."""
    if old is None or new is None:
        spec = (new or old).spec if (new or old) is not None else None  # type: ignore[union-attr]
        asked = spec is not None and any(place.kind is PlaceKind.QUERY for place in spec.places)
        yield from _came("IdentityProvider", old, new, Effect.EITHER if asked else Effect.NONE, reader)
        return
    for name, before, after in _fields(old, new, reader):
        what = between(name, before, after)
        yield Change("IdentityProvider", new.name, "", what, Effect.EITHER)


def of_any(kind: str, old: AnyDocument | None, new: AnyDocument | None, reader: Reader) -> Iterator[Change]:
    """Yield what changes in a document of which nothing more can be told."""
    if old is None or new is None:
        yield from _came(kind, old, new, Effect.EITHER, reader)
        return
    for name, before, after in _fields(old, new, reader):
        yield Change(kind, new.name, "", between(name, before, after), Effect.EITHER)


def of_customer(
    name: str,
    old: Document[CustomerSpec] | None,
    new: Document[CustomerSpec] | None,
    reader: Reader,
    *,
    blind: bool,
) -> Iterator[Change]:
    """Yield what changes for all keys of a customer; one without a document is enabled, without labels."""
    before = old.spec if old is not None else _NO_CUSTOMER
    after = new.spec if new is not None else _NO_CUSTOMER
    facets, others = reader.facets(before), reader.facets(after)
    changed = [way for way in differing(facets, others) if way != "customers"]
    if not changed and (old is None or new is None):
        yield Change("Customer", name, "", "added" if old is None else "removed", Effect.NONE)
    for way in changed:
        effect = Effect.EITHER
        if way == "enabled" and blind:
            effect = Effect.WIDER if after.enabled else Effect.NARROWER
        yield Change("Customer", name, "", between(way, facets.get(way), others.get(way)), effect)


def of_key(
    old: Document[ApiKeySpec] | None, new: Document[ApiKeySpec] | None, reader: Reader, *, blind: bool
) -> Iterator[Change]:
    """Yield what changes for the holder of a key.

    Args:
        blind: no rule treats a proven caller worse than one whose key is bad.
    """
    if old is None or new is None:
        yield from _key_came(old, new, blind=blind)
        return
    if old.name != new.name:
        yield Change("ApiKey", new.name, "", f"renamed, was {quoted(old.name)}", Effect.NONE)
    for name, before, after in _fields(old, new, reader):
        effect = _of_key_field(name, old.spec, new.spec)
        if effect is not Effect.EITHER and not blind:
            effect = Effect.EITHER
        if not old.spec.enabled and not new.spec.enabled:
            effect = Effect.NONE
        yield Change("ApiKey", new.name, "", between(name, before, after), effect)


def _key_came(
    old: Document[ApiKeySpec] | None, new: Document[ApiKeySpec] | None, *, blind: bool
) -> Iterator[Change]:
    key = new if new is not None else old
    if key is None:
        return
    effect = (Effect.WIDER if blind else Effect.EITHER) if key.spec.enabled else Effect.NONE
    scopes = f", scopes {' '.join(key.spec.scopes)}" if key.spec.scopes else ""
    state = "" if key.spec.enabled else ", revoked"
    what = f"{quoted(key.spec.id)} of {key.spec.customer} at {key.spec.provider}{scopes}{state}"
    word = "added" if new is not None else "removed"
    yield Change("ApiKey", key.name, "", f"{word}: {what}", effect if new is not None else reverse(effect))


def _of_key_field(name: str, old: ApiKeySpec, new: ApiKeySpec) -> Effect:
    match name:
        case "enabled":
            return Effect.WIDER if new.enabled else Effect.NARROWER
        case "expiresAt":
            return _ordered((old.expires_at or _NEVER) < (new.expires_at or _NEVER))
        case "notBefore":
            return _ordered((old.not_before or _ALWAYS) > (new.not_before or _ALWAYS))
        case "secrets":
            return _sets(frozenset(map(repr, old.secrets)), frozenset(map(repr, new.secrets)))
        case "addresses" if old.addresses is not None and new.addresses is not None:
            return _sets(frozenset(old.addresses), frozenset(new.addresses))
        case "addresses":
            return _ordered(new.addresses is None)
    return Effect.EITHER


def _ordered(wider: bool) -> Effect:
    return Effect.WIDER if wider else Effect.NARROWER


def _sets(old: frozenset[str], new: frozenset[str]) -> Effect:
    if old < new:
        return Effect.WIDER
    return Effect.NARROWER if new < old else Effect.EITHER


def _came(
    kind: str, old: AnyDocument | None, new: AnyDocument | None, effect: Effect, reader: Reader
) -> Iterator[Change]:
    document = new if new is not None else old
    if document is None:
        return
    told = ", ".join(f"{way}: {_plain(facet)}" for way, facet in reader.facets(document.spec).items())
    word = "added" if new is not None else "removed"
    yield Change(kind, document.name, "", f"{word}: {quoted(told)}", effect)


def _plain(facet: Facet) -> str:
    return facet.shown if isinstance(facet.shown, str) else " ".join(facet.shown)


def _fields(
    old: AnyDocument, new: AnyDocument, reader: Reader
) -> Iterator[tuple[str, Facet | None, Facet | None]]:
    if old.canonical == new.canonical:
        return
    before: Facets = reader.facets(old.spec)
    after: Facets = reader.facets(new.spec)
    for name in differing(before, after):
        yield name, before.get(name), after.get(name)

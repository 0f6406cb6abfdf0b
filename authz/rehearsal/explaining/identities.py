"""Who asks, step by step: which places are looked at and why, what stands there, and whom it proves."""

from __future__ import annotations

from collections.abc import Sequence

from authz.identity.apikey import split_token
from authz.identity.credential import Absence, Found, Plan, Spot, find
from authz.model.identity import Caller, CredentialPlace, PlaceKind, Standing
from authz.model.meaning import DETAILS
from authz.model.reason import Detail, Reason
from authz.model.request import Request
from authz.policy.loaded import Loaded
from authz.policy.rule import Candidate
from authz.rehearsal.explaining.explanation import IdentityPart, LookPart

NOT_LOOKED = "not_looked_for"


def named_providers(candidates: Sequence[Candidate]) -> frozenset[str]:
    """Return the providers that candidate allow rules name; a law holds it to what `check.py` does."""
    return frozenset(name for one in candidates if one.rule.allow for name in one.rule.providers)


def identified(
    caller: Caller,
    request: Request,
    candidates: Sequence[Candidate],
    plan: Plan,
    loaded: Loaded,
    token_prefix: str,
    played: str = "",
) -> IdentityPart:
    """Return who asks, and how that is known.

    Args:
        plan: the places that were looked at.
        played: whose credential a rehearsal presents, in words; "" where it is the request's own.
    """
    looked = tuple(_look(spot, request, candidates) for spot in plan.spots)
    if caller.standing is Standing.PROVEN:
        return _proven(caller, looked, loaded, played)
    standing = caller.standing.value if looked else NOT_LOOKED
    key_id, key = "", ""
    if caller.standing is Standing.INVALID:
        key_id, key = _whose(find(plan, request), token_prefix, loaded)
    detail = caller.detail
    return IdentityPart(
        standing=standing,
        looked=looked,
        played=played,
        detail=detail or "",
        meaning=DETAILS[Reason.CREDENTIAL_INVALID].get(detail, "") if detail else "",
        kind="anonymous",
        key=key,
        key_id=key_id,
    )


def _proven(caller: Caller, looked: tuple[LookPart, ...], loaded: Loaded, played: str) -> IdentityPart:
    identity = caller.identity
    return IdentityPart(
        standing=caller.standing.value,
        looked=looked,
        played=played,
        kind=identity.kind.value,
        provider=identity.provider,
        key=key_name(identity.key_id, loaded),
        key_id=identity.key_id,
        subject=identity.subject,
        customer=identity.customer,
        scopes=identity.scopes,
        labels=dict(identity.labels),
    )


def _whose(found: Found | Absence, token_prefix: str, loaded: Loaded) -> tuple[str, str]:
    """Return id and name of the key whose token was presented, if it is one's: ids are public."""
    parts = split_token(found.text, token_prefix) if isinstance(found, Found) else Detail.KEY_UNKNOWN
    if isinstance(parts, Detail):
        return "", ""
    return parts[0], key_name(parts[0], loaded)


def key_name(key_id: str, loaded: Loaded) -> str:
    """Return the name of the ApiKey document with an id; "" where there is none."""
    return next((document.name for document in loaded.keys if document.spec.id == key_id), "")


def _look(spot: Spot, request: Request, candidates: Sequence[Candidate]) -> LookPart:
    sight = spot.look(request, spot.name, spot.pattern)
    found = {Absence.NONE: "nothing", Absence.AMBIGUOUS: "more than one"}
    rules = {
        one.rule.name: None for one in candidates if one.rule.allow and one.rule.providers & spot.providers
    }
    return LookPart(
        place=place_of(spot.place),
        providers=tuple(sorted(spot.providers)),
        rules=tuple(f"{name.policy}/{name.rule}" for name in sorted(rules)),
        found=found[sight] if isinstance(sight, Absence) else "a credential",
    )


def place_of(place: CredentialPlace) -> str:
    """Return a place in words."""
    if place.kind is PlaceKind.HEADER:
        return f"header {place.name}" + (f" ({place.scheme.capitalize()})" if place.scheme else "")
    return f"cookie {place.name}" if place.kind is PlaceKind.COOKIE else f"query parameter {place.name}"

"""A query: every reader finds the same parameters; a credential is found once or refused, and removed."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from authz.identity.credential import Absence, find, plan
from authz.identity.removal import removal, strip
from authz.model.identity import NOBODY, CredentialPlace, PlaceKind, Provider
from authz.model.text import percent_decode, query_pairs
from authz.policy.vocabulary import VOCABULARY, Facts
from authz.request.query import query_fault
from tests.fuzz.target import Target
from tests.support.facts import facts
from tests.support.requests import request

NAME = "api_key"
PLACE = CredentialPlace(PlaceKind.QUERY, NAME)
PROVIDERS = [Provider("keys", "example", (PLACE,))]
PLAN, REMOVAL = plan(PROVIDERS), removal(PROVIDERS)


def run(data: bytes) -> None:
    """Read one query."""
    query = data.decode("utf-8", "replace")
    if query_fault(query) is not None:
        assert not (query.isascii() and query.isprintable()) or " " in query or "#" in query
        return
    assert percent_decode(query) == unquote_to_bytes(query).decode("utf-8", "replace")
    _is_found(query)
    _is_removed(query)
    _is_what_conditions_see(query)


def _credentials(query: str) -> list[tuple[str, str]]:
    """Return the parameters whose name, decoded once, is the credential's: the plain way."""
    pairs = (part.partition("=") for part in query.split("&"))
    return [(name, value) for name, _, value in pairs if unquote_to_bytes(name) == NAME.encode()]


def _is_found(query: str) -> None:
    there = _credentials(query)
    found = find(PLAN, request(path=f"/?{query}"))
    if not there:
        assert found is Absence.NONE
    elif len(there) > 1 or there[0][0] != NAME:
        assert found is Absence.AMBIGUOUS
    else:
        assert not isinstance(found, Absence)
        assert found.text == there[0][1]


def _is_removed(query: str) -> None:
    """Envoy removes raw names: afterwards no reader finds a credential, and everything else is there."""
    gone = strip(REMOVAL, request(path=f"/?{query}"), NOBODY).query
    parts = query.split("&")
    left = "&".join(part for part in parts if part.partition("=")[0] not in gone)
    assert not _credentials(left)
    assert len(left.split("&")) >= len(parts) - len(_credentials(query)) or not left


def _is_what_conditions_see(query: str) -> None:
    about: Facts = facts(path=f"/?{query}")
    try:
        seen = VOCABULARY["request.query"].read(about)
    except ValueError:
        assert "\0" in unquote_to_bytes(query).decode("utf-8", "replace")
        return
    assert isinstance(seen, dict)
    assert sum(map(len, seen.values())) == len(query_pairs(query))
    assert (NAME in seen) == bool(_credentials(query))


TARGET = Target(
    run, 512, (b"api_key=", b"api%5Fkey", b"%61pi_key", b"&", b"=", b";", b"%", b"%00", b"+", b"%FF")
)

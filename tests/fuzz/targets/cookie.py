"""A cookie header: ours is found once or refused, and nobody behind us finds it again."""

from __future__ import annotations

import re
from http.cookies import CookieError, SimpleCookie

from authz.identity.credential import Absence, find, plan
from authz.identity.removal import removal, strip
from authz.identity.resolve import resolve
from authz.model.identity import NOBODY, CredentialPlace, PlaceKind, Provider, Standing
from authz.model.text import header_text
from tests.fuzz.target import Target
from tests.support.keys import TOKEN, keyring
from tests.support.requests import request

NAME = "session"
PROVIDERS = [Provider("partner-keys", "example", (CredentialPlace(PlaceKind.COOKIE, NAME),))]
PLAN, REMOVAL, RING = plan(PROVIDERS), removal(PROVIDERS), keyring()
NOW = 1_780_000_000_000_000


def run(data: bytes) -> None:
    """Read one cookie header, as the reader hands it on: no line break, no NUL, bad bytes as `!`."""
    if set(data) & set(b"\r\n\0"):
        return
    value = header_text(data).encode()
    _is_found(value)
    _is_removed(value)


def _ours(value: bytes) -> int:
    """Count our cookies as the most generous readers do, who split at commas or at white space too."""
    pieces = re.split(rb"[;,]", value)
    names = [piece.partition(b"=")[0].strip(b" \t") for piece in pieces]
    return max(names.count(NAME.encode()), len(re.findall(rb"(?:\A|[;,\s])session\s*=", value)))


def _is_found(value: bytes) -> None:
    asked = request(headers={"cookie": value})
    found = find(PLAN, asked)
    count = _ours(value)
    caller = resolve(asked, PLAN, RING, NOW)
    if count == 0:
        assert found is Absence.NONE
        assert caller.standing is Standing.MISSING
    elif count > 1:
        assert found is Absence.AMBIGUOUS
    elif caller.standing is Standing.PROVEN:
        # Written as browsers write it, whole, and no second reading of the header.
        assert f"{NAME}={TOKEN}".encode() in [piece.removeprefix(b" ") for piece in value.split(b";")]
        assert b"," not in value
    else:
        assert caller.standing in (Standing.INVALID, Standing.AMBIGUOUS)


def _is_removed(value: bytes) -> None:
    stripped = strip(REMOVAL, request(headers={"cookie": value}), NOBODY)
    assert "cookie" not in stripped.headers or not stripped.set_headers
    if "cookie" in stripped.headers:
        return
    left = dict(stripped.set_headers).get("cookie")
    if left is None:
        assert _ours(value) == 0
        left = value.decode("latin-1")
    else:
        assert not set(left) & set("\r\n\0")
        assert left
    assert _ours(left.encode()) == 0
    assert TOKEN not in left or TOKEN.encode() in re.sub(rb"session\s*=\s*", b"", value)
    try:
        jar: SimpleCookie = SimpleCookie(left)
    except CookieError:
        return
    assert NAME not in jar


TARGET = Target(
    run,
    512,
    (
        b"session=",
        b"; ",
        b";",
        b",",
        b"=",
        b'"',
        b"session",
        TOKEN.encode(),
        b"$Version=1",
        b"a=b",
        b"\t",
        b"!",
    ),
)

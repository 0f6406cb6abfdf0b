"""What the suite is told of a target, and that it keeps secrets to itself."""

from __future__ import annotations

import pytest

from authz.attack.aim import Aim, Place, Spot, parse_place, present
from authz.model.errors import ConfigError

AIM = Aim(b"a.test", b"/admin", token=b"good-secret", dead=(b"dead-secret",))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("header:x-api-key", Place(Spot.HEADER, b"x-api-key")),
        ("header:authorization:Bearer", Place(Spot.HEADER, b"authorization", b"Bearer")),
        ("cookie:session", Place(Spot.COOKIE, b"session")),
        ("query:api_key", Place(Spot.QUERY, b"api_key")),
    ],
)
def test_places_are_read(text: str, place: Place) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "x-api-key", "header:", "body:x", "cookie:a:b", "header:é"])
def test_what_is_no_place_is_said_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="no place; write"):
        parse_place(text)


def test_a_credential_is_presented_where_it_belongs() -> None:
    bearer = present(Place(Spot.HEADER, b"authorization", b"Bearer"), b"t", path=b"/a")
    assert bearer.headers == ((b"authorization", b"Bearer t"),)
    cookie = present(Place(Spot.COOKIE, b"session"), b"t", (b"x", b"y"), path=b"/a", method=b"POST")
    assert (cookie.method, cookie.headers) == (b"POST", ((b"cookie", b"session=t"), (b"x", b"y")))
    assert present(Place(Spot.QUERY, b"k"), b"t", path=b"/a").path == b"/a?k=t"
    assert present(Place(Spot.QUERY, b"k"), b"t", path=b"/a?b=c").path == b"/a?b=c&k=t"


def test_no_credential_is_shown() -> None:
    assert "secret" not in repr(AIM)
    assert AIM.hidden("x good-secret dead-secret") == "x <credential> <credential>"


def test_the_path_that_is_not_protected_has_a_stand_in() -> None:
    assert AIM.public == b"/x"
    assert AIM.presenting(b"t").path == b"/admin"

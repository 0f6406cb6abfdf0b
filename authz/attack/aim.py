"""What the suite is told of a target: enough to know what must not get through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from authz.attack.case import Ask, Pair
from authz.model.errors import ConfigError


class Spot(Enum):
    """The kind of place in which a credential stands."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the target looks for a credential: `header:x-api-key`, `header:authorization:Bearer`, ..."""

    spot: Spot
    name: bytes
    scheme: bytes = b""

    def value(self, token: bytes) -> bytes:
        """Return what stands in a header of this place."""
        return self.scheme + b" " + token if self.scheme else token


def parse_place(text: str) -> Place:
    """Read a place as people write it.

    Raises:
        ConfigError: it is not one.
    """
    spot, _, rest = text.partition(":")
    name, _, scheme = rest.partition(":")
    spots = {each.value: each for each in Spot}
    if spot not in spots or not name.strip() or not text.isascii() or (scheme and spot != "header"):
        raise ConfigError(
            f"--key-in `{text}`: no place; write `header:x-api-key`, `header:authorization:Bearer`,"
            " `cookie:session` or `query:api_key`"
        )
    return Place(spots[spot], name.strip().encode(), scheme.strip().encode())


@dataclass(frozen=True, slots=True)
class Aim:
    """A target, as its owner describes it.

    Args:
        host: what a request names as its host.
        protected: a path that nobody gets without a credential, nor anything below it.
        open: a path that everybody gets; b"" where there is none.
        places: where credentials are looked for; the first is where the good one stands.
        token: a good credential; b"" where there is none. Never shown.
        dead: credentials that were good once: revoked, expired. Never shown.
        identity: names of headers that only the authorization server may set.
        windows: whether the upstream may read paths as Windows reads names of files.
        limited: a path that a good credential may ask for `tokens` times; b"" where there is none.
    """

    host: bytes
    protected: bytes
    open: bytes = b""
    places: tuple[Place, ...] = (Place(Spot.HEADER, b"x-api-key"),)
    token: bytes = b""
    dead: tuple[bytes, ...] = ()
    identity: tuple[bytes, ...] = ()
    windows: bool = False
    limited: bytes = b""
    tokens: int = 0

    def __repr__(self) -> str:  # SECURITY: neither the good credential nor the dead ones
        return f"Aim(host={self.host!r}, protected={self.protected!r}, open={self.open!r})"

    @property
    def public(self) -> bytes:
        """A path that is not protected, whether or not it is open."""
        return self.open or b"/x"

    def presenting(self, token: bytes, *more: Pair, path: bytes = b"", method: bytes = b"GET") -> Ask:
        """Return a request for a path that presents a credential in the first place."""
        return present(self.places[0], token, *more, path=path or self.protected, method=method)

    def hidden(self, text: str) -> str:
        """Return a text without the credentials that were given."""
        for secret in filter(None, (self.token, *self.dead)):
            text = text.replace(secret.decode("latin-1"), "<credential>")
        return text


def present(place: Place, token: bytes, *more: Pair, path: bytes, method: bytes = b"GET") -> Ask:
    """Return a request that presents a credential in one place."""
    if place.spot is Spot.QUERY:
        mark = b"&" if b"?" in path else b"?"
        return Ask(path + mark + place.name + b"=" + token, method, headers=more)
    name, value = place.name, place.value(token)
    if place.spot is Spot.COOKIE:
        name, value = b"cookie", place.name + b"=" + token
    return Ask(path, method, headers=((name, value), *more))

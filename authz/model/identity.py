"""Who asks: providers, the places where credentials stand, and the identities that they prove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple

from authz.model.limit import Rate
from authz.model.reason import Detail


class PlaceKind(StrEnum):
    """The parts of a request that may hold a credential."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class CredentialPlace:
    """One place of a request where a provider looks for its credential.

    Args:
        kind: header, cookie or query.
        name: header name (lower case), cookie name or query parameter name.
        scheme: for headers: the authentication scheme before the credential, lower case; "" for none.
    """

    kind: PlaceKind
    name: str
    scheme: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """One IdentityProvider document.

    Args:
        name: the document's name.
        namespace: the name space of its customers' names.
        places: where its credentials stand.
        forward: the upstream still gets the accepted credential.
    """

    name: str
    namespace: str
    places: tuple[CredentialPlace, ...]
    forward: bool = False


class IdentityKind(StrEnum):
    """How an identity was proven."""

    API_KEY = "api_key"
    JWT = "jwt"
    SIGNATURE = "signature"
    ANONYMOUS = "anonymous"


_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A proven caller, or nobody. Built once per key at load; compared by identity.

    Args:
        subject: of an API key: its id.
        namespace: name space of `customer`.
        limits: name of a Limit -> the rate that this caller's key or customer document sets for it.
    """

    kind: IdentityKind
    provider: str = ""
    subject: str = ""
    key_id: str = ""
    customer: str = ""
    namespace: str = ""
    scopes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    claims: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, Rate] = field(default_factory=dict)

    @property
    def anonymous(self) -> bool:
        """Whether nobody was proven."""
        return self.kind is IdentityKind.ANONYMOUS


ANONYMOUS = Identity(kind=IdentityKind.ANONYMOUS)


class Standing(Enum):
    """What came of looking for a credential."""

    PROVEN = "proven"
    MISSING = "missing"
    INVALID = "invalid"
    AMBIGUOUS = "ambiguous"


class Caller(NamedTuple):
    """Who asks, and how that is known. `identity` is ANONYMOUS unless `standing` is PROVEN."""

    identity: Identity
    standing: Standing
    detail: Detail | None = None  # why INVALID, for the record only
    place: CredentialPlace | None = None  # where the accepted credential stood


NOBODY = Caller(ANONYMOUS, Standing.MISSING)

"""Who asks: identity providers, API keys and customers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authz.model.identity import CredentialPlace, PlaceKind
from authz.policy.fields import (
    CredentialHeader,
    Digest,
    Fingerprint,
    Instant,
    KeyId,
    Line,
    Name,
    Network,
    Scope,
    Some,
    Token,
    Unlike,
    Url,
)
from authz.policy.shape import Labels, Model, RateSpec, model


@model
class CredentialIn(Model):
    """One place of a request that may hold a credential: a header, a cookie or a query parameter."""

    header: CredentialHeader | None = Field(default=None, description="Name of a header.")
    scheme: Token | None = Field(
        default=None, description="Authentication scheme in front of the credential."
    )
    cookie: Token | None = Field(default=None, description="Name of a cookie.")
    query: Token | None = Field(default=None, description="Name of a query parameter; discouraged.")

    def to_place(self) -> CredentialPlace:
        """Return the place as the other rooms know it."""
        if self.header is not None:
            return CredentialPlace(PlaceKind.HEADER, self.header, (self.scheme or "").lower())
        if self.cookie is not None:
            return CredentialPlace(PlaceKind.COOKIE, self.cookie)
        return CredentialPlace(PlaceKind.QUERY, self.query or "")


@model
class ApiKeyProvider(Model):
    """API keys, as ApiKey documents name them."""

    places: Some[CredentialIn] = Field(alias="in", description="Where the key stands.")


@model
class Jwks(Model):
    """Where the keys of an issuer come from."""

    url: Url | None = Field(default=None, description="HTTPS address of the key set.")
    file: Line | None = Field(default=None, description="File that holds the key set.")


@model
class Claim(Model):
    """Which claim an attribute is taken from."""

    source: Line = Field(alias="from", description="Name of the claim.")
    type: Literal["string", "words", "list"] = Field(description="`words`: a text split at spaces.")


@model
class JwtProvider(Model):
    """JSON Web Tokens of one issuer; not supported yet."""

    issuer: Url = Field(description="Must equal the claim `iss`.")
    audiences: Unlike[Line] = Field(description="One of them must be in the claim `aud`.")
    algorithms: Unlike[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]
    ] = Field(description="Accepted signature algorithms.")
    jwks: Jwks = Field(description="Keys of the issuer: `url` or `file`.")
    places: Some[CredentialIn] = Field(alias="in", description="Where the token stands.")
    claims: dict[Literal["customer", "scopes"], Claim] = Field(
        default_factory=dict, description="Attribute to claim."
    )
    forward: bool = Field(default=False, description="The upstream still gets the accepted token.")


@model
class IdentityProviderSpec(Model):
    """How callers prove who they are."""

    customers: Name | None = Field(
        default=None, description="Name space of its customers' names; default: the provider's own name."
    )
    api_key: ApiKeyProvider | None = Field(default=None, description="API keys.")
    jwt: JwtProvider | None = Field(default=None, description="JSON Web Tokens; not supported yet.")

    @property
    def places(self) -> tuple[CredentialPlace, ...]:
        """Return every place where a credential of this provider may stand."""
        provider = self.api_key or self.jwt
        return tuple(place.to_place() for place in provider.places) if provider else ()


@model
class KeySecret(Model):
    """One version of a key's secret: a digest, which cannot be presented as a key."""

    version: int = Field(ge=1, le=999_999_999, description="Grows with every rotation.")
    pepper: Fingerprint = Field(description="Fingerprint of the pepper that the digest was made with.")
    digest: Digest = Field(description="Unpadded base64url of the HMAC-SHA-256 of the secret.")
    expires_at: Instant | None = Field(default=None, description="End of a rotation's overlap, exclusive.")


@model
class ApiKeySpec(Model):
    """One API key of a customer; holds no secret."""

    id: KeyId = Field(description="Public id inside the token; never used again for another key.")
    provider: Name = Field(description="IdentityProvider with `apiKey` that the key belongs to.")
    customer: Name = Field(description="Who holds the key.")
    scopes: Unlike[Scope] | None = Field(
        default=None, description="What conditions see in `identity.scopes`."
    )
    labels: Labels = Field(default_factory=dict, description="What conditions see in `identity.labels`.")
    not_before: Instant | None = Field(default=None, description="First moment at which the key is valid.")
    expires_at: Instant | None = Field(default=None, description="First moment at which it no longer is.")
    addresses: Unlike[Network] | None = Field(default=None, description="Networks it may be used from.")
    enabled: bool = Field(default=True, description="`false` revokes the key.")
    limits: Annotated[dict[Name, RateSpec], Field(min_length=1)] | None = Field(
        default=None, description="Rates for this key: name of a Limit to rate and burst."
    )
    secrets: Annotated[tuple[KeySecret, ...], Field(min_length=1, max_length=2)] = Field(
        description="One, or two while a rotation overlaps."
    )


@model
class CustomerSpec(Model):
    """What holds for all keys of one customer."""

    customers: Name | None = Field(
        default=None, description="Name space; required where the set has several."
    )
    enabled: bool = Field(default=True, description="`false` refuses every credential of this customer.")
    labels: Labels = Field(default_factory=dict, description="Labels of its identities; a key's own win.")
    limits: Annotated[dict[Name, RateSpec], Field(min_length=1)] | None = Field(
        default=None, description="Rates for this customer: name of a Limit to rate and burst."
    )

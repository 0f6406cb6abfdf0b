"""Sites: how requests for some hosts are read and refused."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authz.model.site import PATH_MAX_BYTES
from authz.policy.fields import HeaderValue, HostText, RefusalHeader, Token, Told, Unlike, Url
from authz.policy.shape import Model, RateSpec, model


@model
class PathReading(Model):
    """How paths are read."""

    matrix_parameters: Literal["refuse", "keep"] = Field(default="refuse", description="`;` in paths.")
    encoded_slash: Literal["refuse", "keep"] = Field(default="refuse", description="`%2F` in paths.")
    max_bytes: int = Field(
        default=PATH_MAX_BYTES, ge=1, le=65536, description="Longer paths are refused with 414."
    )


@model
class Redirect(Model):
    """Where a browser is sent instead of being refused."""

    to: Url = Field(description="Absolute URL.")
    return_to: Token | None = Field(default=None, description="Query parameter for the URL first asked for.")


@model
class Refusal(Model):
    """What refusals of one told reason carry."""

    redirect: Redirect | None = Field(default=None, description="Only for GET and HEAD that accept HTML.")
    headers: Annotated[dict[RefusalHeader, HeaderValue], Field(min_length=1)] | None = Field(
        default=None, description="Response headers, literally."
    )


@model
class SiteSpec(Model):
    """How requests for some hosts are read and refused."""

    hosts: Unlike[HostText] = Field(description="Host patterns; the most specific Site wins.")
    path: PathReading = Field(default=PathReading(), description="How paths are read.")
    method_override: Literal["refuse", "remove"] = Field(
        default="refuse", description="What happens to method-override headers."
    )
    guard: RateSpec | None = Field(
        default=None, description="Bad requests and credentials that one client network may send."
    )
    reasons: Literal["coarse", "full"] = Field(default="coarse", description="What the client is told.")
    on_deny: Annotated[dict[Told, Refusal], Field(min_length=1)] | None = Field(
        default=None, description="By told reason; `default` fills what an entry leaves out."
    )

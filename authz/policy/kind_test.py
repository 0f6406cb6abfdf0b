"""Policy tests: requests with known answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from authz.model.reason import Detail, Reason
from authz.policy.fields import Instant, Line, Name, Scope, Some, Unlike
from authz.policy.shape import Labels, Model, model


@model
class TestRequest(Model):
    """A request as Envoy would describe it. Nothing is checked here: a test may ask for nonsense."""

    __test__ = False  # not a test, whatever pytest makes of its name

    method: str = Field(default="GET", description="Method.")
    host: str = Field(description="Host header.")
    path: str = Field(description="Path and query, as sent.")
    scheme: str = Field(default="https", description="`http` or `https`.")
    headers: dict[str, str] = Field(default_factory=dict, description="Request headers.")
    address: str | None = Field(
        default=None, description="Client address; left out: 192.0.2.1, which nobody has."
    )
    principal: str | None = Field(default=None, description="Workload that Envoy authenticated by mTLS.")
    upgrade: str | None = Field(default=None, description="Protocol that the request asks to switch to.")


@model
class TestCredential(Model):
    """A valid token of one ApiKey document, as if it were presented."""

    __test__ = False

    key: Name = Field(description="Name of an ApiKey document.")


@model
class TestIdentity(Model):
    """A caller, as if a provider had proven it."""

    __test__ = False

    provider: Name = Field(description="Name of an IdentityProvider document.")
    subject: str = Field(default="", description="Who, in the provider's words.")
    customer: Name | None = Field(default=None, description="Customer.")
    scopes: Unlike[Scope] | None = Field(default=None, description="Scopes.")
    labels: Labels = Field(default_factory=dict, description="Labels.")
    claims: dict[str, Any] = Field(default_factory=dict, description="Claims of the token.")


@model
class TestExpect(Model):
    """What must come of the request; what is left out is not compared."""

    __test__ = False

    outcome: Literal["allow", "deny"] = Field(description="How the check ends.")
    status: int | None = Field(default=None, ge=100, le=599, description="HTTP status.")
    reason: Reason | None = Field(default=None, description="Reason, as in records.")
    detail: Detail | None = Field(default=None, description="Finer cause, as in records.")
    policy: Name | None = Field(default=None, description="Policy that decided.")
    rule: Name | None = Field(default=None, description="Rule that decided.")
    headers: dict[str, str] | None = Field(
        default=None, description="Headers that the upstream gets from onAllow; the empty text: not set."
    )
    limits: tuple[Name, ...] | None = Field(default=None, description="All limits that would be spent.")


@model
class TestCase(Model):
    """One request and what must come of it."""

    __test__ = False

    name: Line = Field(description="What is tested, as a sentence.")
    request: TestRequest = Field(description="What is asked.")
    credential: TestCredential | None = Field(default=None, description="The key that is presented.")
    identity: TestIdentity | None = Field(default=None, description="Who is asking, instead of a key.")
    expect: TestExpect = Field(description="What must come of it.")


@model
class PolicyTestSpec(Model):
    """Requests with known answers; tests never spend and never depend on the wall clock."""

    now: Instant = Field(description="The time at which the requests arrive.")
    cases: Some[TestCase] = Field(description="Cases.")

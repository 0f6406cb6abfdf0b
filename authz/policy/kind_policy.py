"""Policies: who may do what on which hosts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from authz.policy.fields import (
    Expression,
    HostText,
    Line,
    Method,
    Name,
    Network,
    PathText,
    Peer,
    RpcMethod,
    Service,
    SettableHeader,
    Some,
    Unlike,
    Upgrade,
)
from authz.policy.shape import Mode, Model, model


@model
class GrpcMatch(Model):
    """Calls of one gRPC service."""

    service: Service = Field(description="Full name of the service, such as `shop.v1.Orders`.")
    methods: Unlike[RpcMethod] | None = Field(default=None, description="Its methods; default: all.")


@model
class Rule(Model):
    """Which requests are allowed or denied."""

    name: Name = Field(description="Name of the rule, unique in its policy.")
    effect: Literal["allow", "deny"] = Field(description="What a fitting request gets; deny wins over allow.")
    methods: Unlike[Method] | None = Field(
        default=None, description="Default: every method; GET includes HEAD."
    )
    paths: Unlike[PathText] | None = Field(
        default=None,
        description="Path patterns: `*` and `{name}` are one segment, `**` at the end is the rest.",
    )
    grpc: Some[GrpcMatch] | None = Field(
        default=None, description="gRPC calls, instead of methods and paths."
    )
    identity: Unlike[Name] | None = Field(
        default=None,
        description="Names of identity providers, `anonymous` or `anyone`; allow rules must say.",
    )
    peers: Unlike[Peer] | None = Field(
        default=None, description="Workloads that Envoy authenticated by mTLS; `*` is one whole last segment."
    )
    addresses: Unlike[Network] | None = Field(default=None, description="Networks of the client.")
    upgrade: Unlike[Upgrade] | None = Field(
        default=None, description="Fits only requests that ask to switch to one of these protocols."
    )
    when: Expression | None = Field(default=None, description="CEL condition, of type bool.")
    limits: Unlike[Name] | None = Field(default=None, description="Limits, all spent together or none.")

    @property
    def anonymous_alone(self) -> bool:
        """Whether it fits only callers who presented nothing."""
        return self.identity is not None and set(self.identity) == {"anonymous"}


@model
class OnAllow(Model):
    """What an allowed request carries to the upstream."""

    headers: Annotated[dict[SettableHeader, Expression], Field(min_length=1)] = Field(
        description="Request headers: name to CEL expression of type string; an empty string sets none."
    )


@model
class PolicySpec(Model):
    """Rules for some hosts."""

    owner: Line | None = Field(default=None, description="Who answers for this policy; shown in records.")
    mode: Mode = "enforce"
    hosts: Unlike[HostText] = Field(description="Host patterns: a host, `*.suffix`, `{name}.suffix`, or `*`.")
    rules: Some[Rule] = Field(description="Rules; their order never matters.")
    on_allow: OnAllow | None = Field(
        default=None, description="What an allowed request carries to the upstream."
    )

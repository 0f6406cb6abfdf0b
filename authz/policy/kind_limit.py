"""Limits: how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from authz.policy.fields import Expression, Some, Unlike
from authz.policy.shape import Mode, RateSpec, model


@model
class Tier(RateSpec):
    """Another rate for some callers."""

    when: Expression = Field(description="CEL condition over the identity; the first tier that holds counts.")


@model
class LimitSpec(RateSpec):
    """How often: one bucket for each value of `per`."""

    per: Unlike[Expression] = Field(
        description="CEL, each a non-empty string: together they name the bucket."
    )
    tiers: Some[Tier] | None = Field(default=None, description="Other rates for some callers.")
    cost: Expression = Field(
        default="1", description="CEL, a finite number >= 0: tokens that a request costs."
    )
    mode: Mode = "enforce"
    on_store_error: Literal["local", "allow", "deny"] = Field(
        default="local", description="What happens while the store of the buckets does not answer."
    )

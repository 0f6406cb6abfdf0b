"""What all kinds of documents share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from authz.model.limit import Rate
from authz.policy.fields import LabelKey, Line, Name, RateText

MAX_BURST = 999_999_999  # tokens; like the number of a rate

_WINDOWS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}

Labels = dict[LabelKey, Line]
Mode = Annotated[
    Literal["enforce", "shadow"], Field(description="`shadow` judges and records, but changes no answer.")
]


class Model(BaseModel):
    """Base of everything in a document: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # SECURITY: what stands in a wrong place may be a secret
    )


class Metadata(Model):
    """What a document is called."""

    name: Name = Field(description="Name of the document, unique among its kind.")
    labels: dict[str, str] = Field(default={}, description="For people and tools; no meaning here.")
    annotations: dict[str, str] = Field(default={}, description="For people and tools; no meaning here.")


class RateSpec(Model):
    """How fast a bucket refills and how much it holds."""

    rate: RateText = Field(description="Tokens and unit: `100/s`, `60/min`, `10/h`, `5/d`.")
    burst: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BURST,
        description="Tokens that the bucket holds; default: the number of the rate.",
    )

    def to_rate(self) -> Rate:
        """Return the rate as the limiter reckons with it."""
        number, _, unit = self.rate.partition("/")
        window_s = _WINDOWS_S[unit]
        return Rate(int(number) / window_s, float(self.burst or int(number)), window_s)

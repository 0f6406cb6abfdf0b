"""The order in which the fields of a document are written: that of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from authz.policy.document import json_schema

_TOP = ("apiVersion", "kind", "metadata", "spec")

# Where people write another order than that of the classes.
_WRITTEN: Mapping[str, tuple[str, ...]] = {
    "LimitSpec": ("per", "rate", "burst", "tiers", "cost", "mode", "onStoreError"),
    "Rule": (
        *("name", "effect", "methods", "paths", "grpc", "upgrade"),
        *("identity", "peers", "addresses", "when", "limits"),
    ),
    "Tier": ("when", "rate", "burst"),
}

Shape = dict[str, Any]  # any: a JSON Schema has no narrower type


def root(kind: str) -> Shape:
    """Return the shape of a kind of documents; empty where there is no such kind."""
    found = _definitions().get(kind, {})
    return {**found, "order": _TOP}


def below(shape: Shape, step: str | int) -> Shape:
    """Return the shape of a member or an item; empty where authors choose the names."""
    if isinstance(step, int):
        found = shape.get("items")
    else:
        found = shape.get("properties", {}).get(step) or shape.get("additionalProperties")
        found = found or next(iter(shape.get("patternProperties", {}).values()), None)
    return _resolved(found) if isinstance(found, dict) else {}


def order_of(shape: Shape) -> tuple[str, ...]:
    """Return the fields of a shape, as they are written; empty where authors choose."""
    return tuple(shape.get("order", ())) or tuple(shape.get("properties", ()))


def _resolved(shape: Shape) -> Shape:
    name = shape.get("$ref", "").rsplit("/", 1)[-1]
    if not name:
        return shape
    return {**_definitions()[name], "order": _WRITTEN.get(name, ())}


@cache
def _definitions() -> dict[str, Shape]:
    return json_schema()["$defs"]  # type: ignore[no-any-return]  # a JSON Schema has no narrower type

"""Explanations for tests: a request in a few words, explained."""

from __future__ import annotations

from typing import Any

from authz.policy.kind_test import TestIdentity
from authz.rehearsal.explaining.explain import explain
from authz.rehearsal.explaining.explanation import Explanation, IdentityPart, ReadingPart, RulePart
from authz.rehearsal.scene import Cast, Scene, message_of
from authz.snapshot.build import Built
from tests.support.decisions import NOW_US


def ask(
    built: Built,
    path: str = "/",
    host: str = "items.example.com",
    key: str = "",
    identity: dict[str, Any] | None = None,
    **more: Any,
) -> Explanation:
    """Explain a request; `more` are fields of a Scene."""
    headers = tuple(more.pop("headers", {}).items())
    cast = Cast(key, TestIdentity(**identity) if identity is not None else None)
    scene = Scene(host=host, path=path, headers=headers, **more)
    return explain(built, message_of(scene, NOW_US), cast, NOW_US)


def reading(explained: Explanation) -> ReadingPart:
    """Return the last reading."""
    return explained.readings[-1]


def who(explained: Explanation) -> IdentityPart:
    """Return who asked, as the last reading has it."""
    identity = reading(explained).identity
    assert identity is not None
    return identity


def rule(explained: Explanation, name: str) -> RulePart:
    """Return what one rule says, by its own name."""
    (found,) = [part for part in reading(explained).candidates if part.rule == name]
    return found

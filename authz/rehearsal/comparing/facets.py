"""What a document says, field by field: in words, and so that two spellings of one meaning are equal.

INVARIANT: two documents with equal facets answer every request alike. So whatever is not known to be without
meaning (the order of a list, the spelling of a number) tells documents apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from authz.policy.condition import Compiler, Condition, Expression
from authz.policy.hazard import shape, tree_of
from authz.policy.host import parse_host
from authz.policy.kind_identity import ApiKeySpec, KeySecret
from authz.policy.kind_limit import LimitSpec, Tier
from authz.policy.kind_policy import GrpcMatch, OnAllow, PolicySpec, Rule
from authz.policy.kind_scope import ScopeSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.path import parse_path
from authz.policy.shape import Model, RateSpec, written_names


class Facet(NamedTuple):
    """One thing that a document says.

    Args:
        shown: in words; a tuple where it is a list.
        essence: equal where the meaning is.
    """

    shown: str | tuple[str, ...]
    essence: Hashable


Facets = Mapping[str, Facet]  # way to the field, such as `apiKey.in` -> what it says

# Lists whose order says nothing. Of hosts and paths that capture, the first that matches names the capture.
_SETS = {
    (Rule, "methods"),
    (Rule, "identity"),
    (Rule, "peers"),
    (Rule, "addresses"),
    (Rule, "upgrade"),
    (Rule, "limits"),
    (Rule, "grpc"),
    (GrpcMatch, "methods"),
    (SiteSpec, "hosts"),
    (ApiKeySpec, "addresses"),
    (ApiKeySpec, "secrets"),
    (ScopeSpec, "hosts"),
    (ScopeSpec, "kinds"),
    (ScopeSpec, "providers"),
    (ScopeSpec, "customers"),
}
_CONDITIONS = {(Rule, "when"), (Tier, "when")}
_TEXTS = {(LimitSpec, "per"), (OnAllow, "headers")}
_NUMBERS = {(LimitSpec, "cost")}
_SKIPPED = {(PolicySpec, "rules")}  # each is compared by itself


class Reader:
    """Reads facets; equal expressions are compiled once."""

    def __init__(self, compiler: Compiler | None = None) -> None:
        self._compiler = compiler or Compiler()
        self._meanings: dict[tuple[str, str], Hashable] = {}

    def facets(self, part: Model) -> Facets:
        """Return what a part of a document says; what it does not say is absent, defaults are filled in."""
        return dict(self._of(part, ""))

    def _of(self, part: Model, prefix: str) -> Iterator[tuple[str, Facet]]:
        skipped: set[str] = set()
        if isinstance(part, RateSpec):
            rate = part.to_rate()
            shown = f"{part.rate}, burst {rate.burst_tokens:.0f}"
            yield f"{prefix}rate", Facet(shown, (rate.rate_per_s, rate.burst_tokens, rate.window_s))
            skipped = {"rate", "burst"}
        fields = dataclasses.fields(part)  # type: ignore[arg-type]  # every part is a dataclass
        for field, written in zip(fields, written_names(type(part)), strict=True):
            value = getattr(part, field.name)
            if value is None or field.name in skipped or (type(part), field.name) in _SKIPPED:
                continue
            yield from self._field(part, field.name, f"{prefix}{written}", value)

    def _field(self, part: Model, name: str, way: str, value: object) -> Iterator[tuple[str, Facet]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from self._field(part, name, f"{way}.{key}", inner)
        elif isinstance(value, Model):
            yield from self._of(value, f"{way}.")
        elif isinstance(value, tuple):
            yield way, self._list(part, name, value)
        else:
            yield way, self._scalar(part, name, value)

    def _list(self, part: Model, name: str, values: tuple[object, ...]) -> Facet:
        each = [self._scalar(part, name, value) for value in values]
        shown = tuple(str(one.shown) for one in each)
        essences = tuple(one.essence for one in each)
        return Facet(shown, essences if _is_ordered(part, name) else frozenset(essences))

    def _scalar(self, part: Model, name: str, value: object) -> Facet:
        if isinstance(value, Model):
            return self._inline(value)
        if isinstance(value, bool):
            return Facet(str(value).lower(), value)
        if isinstance(value, datetime):
            return Facet(value.isoformat().replace("+00:00", "Z"), value)
        text = str(value)
        if (type(part), name) == (Rule, "paths"):
            return Facet(text, parse_path(text))
        for fields, kind in ((_CONDITIONS, "condition"), (_TEXTS, "text"), (_NUMBERS, "number")):
            if (type(part), name) in fields:
                return Facet(text.strip(), self._meaning(kind, text))
        return Facet(text, (type(value).__name__, text))

    def _inline(self, part: Model) -> Facet:
        """Return a part that stands in a list, on one line."""
        inner = self.facets(part)
        if isinstance(part, KeySecret):  # a digest tells people nothing
            inner_shown = {way: facet for way, facet in inner.items() if way not in ("pepper", "digest")}
        else:
            inner_shown = dict(inner)
        shown = ", ".join(f"{way}: {_joined(facet.shown)}" for way, facet in inner_shown.items())
        return Facet(shown, frozenset((way, facet.essence) for way, facet in inner.items()))

    def _meaning(self, kind: str, source: str) -> Hashable:
        """Return what an expression means, whatever its spaces: its syntax tree, typed and without places."""
        known = self._meanings.get((kind, source))
        if known is None:
            tree = tree_of(self._compiled(kind, source))
            known = self._meanings[kind, source] = source.strip() if tree is None else shape(tree.expr)
        return known

    def _compiled(self, kind: str, source: str) -> Condition | Expression:
        if kind == "condition":
            return self._compiler.condition(source)
        return self._compiler.text(source) if kind == "text" else self._compiler.number(source)


def _joined(shown: str | tuple[str, ...]) -> str:
    return shown if isinstance(shown, str) else " ".join(shown)


def _is_ordered(part: Model, name: str) -> bool:
    if isinstance(part, PolicySpec) and name == "hosts":
        return any(parse_host(text).capture for text in part.hosts)
    if isinstance(part, Rule) and name == "paths":
        return any(parse_path(text).captures for text in part.paths or ())
    return (type(part), name) not in _SETS

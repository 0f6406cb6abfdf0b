"""From the files of the overrides to what is asked before the policy set, or to their faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from authz.model.errors import PolicyError, SnapshotRejected
from authz.policy.compile import compile_set
from authz.policy.condition import Compiler
from authz.policy.kind_policy import PolicySpec
from authz.policy.load import Cache, load_lenient
from authz.policy.loaded import Document, Loaded
from authz.policy.overrides import Overrides
from authz.policy.placement import Home
from authz.policy.yaml import parse
from authz.snapshot.parts import Files

_ANYBODY = ("anonymous", "anyone")


class BuiltOverrides(NamedTuple):
    """Overrides, compiled.

    Args:
        asked: None where there are none.
        time, body: whether an expression reads the request's time or body.
    """

    asked: Overrides | None = None
    loaded: Loaded = Loaded()
    warnings: tuple[PolicyError, ...] = ()
    time: bool = False
    body: bool = False


class OverridesBuilder:
    """Builds overrides by themselves: no other document can keep them from coming into force."""

    def __init__(self) -> None:
        self._cache = Cache()
        self._compiler = Compiler()

    def build(self, files: Files) -> BuiltOverrides:
        """Build from what was read.

        Raises:
            SnapshotRejected: with every fault.
        """
        built, faults = self.build_lenient(files)
        if faults:
            raise SnapshotRejected(faults)
        return built

    def build_lenient(self, files: Files) -> tuple[BuiltOverrides, list[PolicyError]]:
        """Build from what was read; what comes with faults is never served."""
        contents = {name: content for name, content in files.contents.items() if not _is_blank(name, content)}
        if not contents:
            return BuiltOverrides(), list(files.faults)
        loaded, faults = load_lenient(contents, self._cache, Home.OVERRIDES)
        odd = [fault for document in loaded.policies for fault in _odd(document)]
        told = {str(fault.place) for fault in odd}
        faults = [*files.faults, *odd, *(fault for fault in faults if str(fault.place) not in told)]
        rules = compile_set(loaded, self._compiler)
        built = BuiltOverrides(
            Overrides(rules.index, _names(loaded)),
            loaded,
            tuple(rules.warnings),
            time="request.time" in rules.names,
            body="request.body" in rules.names,
        )
        return built, [*faults, *rules.faults]


def _names(loaded: Loaded) -> tuple[str, ...]:
    return tuple(sorted(f"{one.name}/{rule.name}" for one in loaded.policies for rule in one.spec.rules))


def _is_blank(name: str, content: bytes) -> bool:
    """Whether a file holds comments at most: that is how the brake is released."""
    parsed = parse(content, name)
    return not parsed.trees and not parsed.faults


def _odd(document: Document[PolicySpec]) -> Iterator[PolicyError]:
    """Yield what an override may not say: it refuses, and depends on nothing else that is loaded."""
    spec = document.spec
    if spec.mode != "enforce":
        yield document.fault("an override is in force at once: remove `mode`", "spec", "mode")
    if spec.on_allow is not None:
        what = "an override allows nothing, so it sets no headers: remove `onAllow`"
        yield document.fault(what, "spec", "onAllow", at_key=True)
    for number, rule in enumerate(spec.rules):
        at = ("spec", "rules", number)
        if rule.effect != "deny":
            yield document.fault("an override only denies: write `effect: deny`", *at, "effect")
        if rule.limits is not None:
            yield document.fault("an override spends nothing: remove `limits`", *at, "limits")
        for index, name in enumerate(rule.identity or ()):
            if name not in _ANYBODY:
                what = f'an override names no provider: write `when: identity.provider == "{name}"`'
                yield document.fault(what, *at, "identity", index)

"""Where a compiled rule comes from: its document, its place and its patterns as they are written."""

from __future__ import annotations

from typing import NamedTuple

from authz.model.decision import RuleName
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_policy import Rule as Written
from authz.policy.loaded import Document, Loaded


class Source(NamedTuple):
    """Where a compiled rule comes from."""

    document: Document[PolicySpec]
    number: int

    @property
    def rule(self) -> Written:
        """Return the rule as it is written."""
        return self.document.spec.rules[self.number]

    @property
    def place(self) -> str:
        """Return where it stands."""
        return str(self.document.place("spec", "rules", self.number))


def sources(loaded: Loaded, mode: str = "enforce") -> dict[RuleName, Source]:
    """Return every rule of a set's policies of one mode, by its names."""
    return {
        RuleName(document.name, rule.name): Source(document, number)
        for document in loaded.policies
        if document.spec.mode == mode
        for number, rule in enumerate(document.spec.rules)
    }


def written_paths(rule: Written) -> tuple[str, ...]:
    """Return a rule's path patterns; "" is every path. Of a gRPC rule, those of its methods."""
    if rule.grpc is None:
        return tuple(rule.paths or ("",))
    return tuple(f"/{match.service}/{method}" for match in rule.grpc for method in match.methods or ("*",))

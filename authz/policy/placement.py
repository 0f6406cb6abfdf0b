"""Which kinds of documents stand in which directories.

SECURITY: a Scope says what others may write, so it stands only where the operator alone writes. Whoever may
write policies must not widen his own scope.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from authz.model.errors import PolicyError
from authz.policy.loaded import Loaded


class Home(Enum):
    """The directories that an operator names, by their flag."""

    POLICIES = "policies"
    SCOPES = "scopes"
    OVERRIDES = "overrides"


def misplaced(loaded: Loaded, home: Home) -> Iterator[PolicyError]:
    """Yield a fault for each document that stands in a directory of another kind."""
    for documents in loaded.kinds():
        what = _fault(documents.kind, home)
        if what:
            yield from (document.fault(what, "kind") for document in documents)


def _fault(kind: str, home: Home) -> str:
    match home:
        case Home.POLICIES if kind == "Scope":
            return (
                "a Scope stands only in a directory of `--scopes`, where the operator alone writes: move it"
            )
        case Home.SCOPES if kind != "Scope":
            return f"only Scopes stand in a directory of `--scopes`: move the {kind} to one of `--policies`"
        case Home.OVERRIDES if kind != "Policy":
            return f"an override is a Policy with deny rules: move the {kind} to a directory of `--policies`"
        case _:
            return ""

"""A JSON Patch applied, as an API server does it: RFC 6902, as far as our patches go."""

from __future__ import annotations

import copy
from typing import Any


def patched(document: Any, operations: Any) -> Any:
    """Return the document with the operations applied, each of which must be possible."""
    whole = {"": copy.deepcopy(document)}
    for operation in operations:
        *way, last = [
            step.replace("~1", "/").replace("~0", "~") for step in ("x" + operation["path"]).split("/")
        ]
        if not way:
            whole[""] = operation["value"]
            continue
        at = whole[""]
        for step in way[1:]:
            at = at[int(step)] if isinstance(at, list) else at[step]
        _apply(at, last, operation)
    return whole[""]


def _apply(at: Any, last: str, operation: Any) -> None:
    value = copy.deepcopy(operation.get("value"))
    match operation["op"], at:
        case "add", list():
            assert last == "-"
            at.append(value)
        case "add", dict():
            at[last] = value
        case "replace", list():
            at[int(last)] = value
        case "replace", dict():
            assert last in at
            at[last] = value
        case "remove", dict():
            del at[last]
        case _:
            raise AssertionError(operation)

"""What changed, as a JSON Patch: the answer of a webhook.

Source: RFC 6902, and RFC 6901 for its paths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from authz.injection.tree import Json, Object

Operation: TypeAlias = Object  # {"op": "add" | "replace" | "remove", "path": "/...", "value": ...}


def json_patch(before: Json, after: Json) -> list[Operation]:
    """Return the operations that make `after` of `before`; none where they are equal.

    Small where items were put at the end of lists, which is all that injection does to them.
    """
    return list(_operations(before, after, ""))


def _operations(before: Json, after: Json, path: str) -> Iterator[Operation]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _of_mapping(before, after, path)
    elif isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=False)):
            yield from _operations(old, new, f"{path}/{index}")
        for new in after[len(before) :]:
            yield {"op": "add", "path": f"{path}/-", "value": new}
    elif type(before) is not type(after) or before != after:
        yield {"op": "replace", "path": path, "value": after}


def _of_mapping(before: Object, after: Object, path: str) -> Iterator[Operation]:
    for key, value in before.items():
        below = f"{path}/{_escaped(key)}"
        if key not in after:
            yield {"op": "remove", "path": below}
        else:
            yield from _operations(value, after[key], below)
    for key, value in after.items():
        if key not in before:
            yield {"op": "add", "path": f"{path}/{_escaped(key)}", "value": value}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")

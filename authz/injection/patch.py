"""What changed, as a JSON Patch: the answer of a webhook.

Source: RFC 6902.
"""

from __future__ import annotations

from typing import TypeAlias

from authz.injection.tree import Json, Object

Operation: TypeAlias = Object  # {"op": "add" | "replace" | "remove", "path": "/...", "value": ...}


def json_patch(before: Json, after: Json) -> list[Operation]:
    """Return the operations that make `after` of `before`; none where they are equal."""
    raise NotImplementedError

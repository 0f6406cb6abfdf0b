"""Values of variables as people read them: short, one line, and only the part that an expression names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

_TEXT_MAX = 200
_LIST_MAX = 10
_NAMED = re.compile(r"""["']([^"']*)["']""")
_FIELD = re.compile(r"\.\??([A-Za-z_][A-Za-z0-9_]*)")


Cover = Callable[[str], str]  # hides what is a credential of a text


def shown_values(source: str, values: Mapping[str, object], cover: Cover) -> dict[str, str]:
    """Return variables by name; of a map only the entries that the expression spells, if it spells any."""
    names = frozenset(_NAMED.findall(source)) | frozenset(_FIELD.findall(source))
    return {name: shown(value, cover, names) for name, value in values.items()}


def shown(value: object, cover: Cover, names: frozenset[str] = frozenset()) -> str:
    """Return a value as JSON would have it, shortened.

    Args:
        names: entries of a map that are shown.
    """
    if isinstance(value, bytes | bytearray):
        return f"({len(value)} bytes)"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return _map(value, cover, names)
    if isinstance(value, list | tuple):
        return _list(value, cover)
    # SECURITY: covered before it is cut, since half a credential is known by nobody for one.
    text = json.dumps(cover(value) if isinstance(value, str) else value, default=str)
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}... ({len(text)} characters)"


def _map(value: Mapping[str, object], cover: Cover, names: frozenset[str]) -> str:
    kept = {name: part for name, part in value.items() if name in names}
    if not kept and not names & set(value) and len(value) <= 3:
        kept = dict(value)
    rows = [f"{json.dumps(name)}: {shown(part, cover, names)}" for name, part in kept.items()]
    left = len(value) - len(kept)
    if left:
        rows.append(f"... {left} more" if kept else f"... {left}, none of them named here")
    return "{" + ", ".join(rows) + "}"


def _list(value: list[object] | tuple[object, ...], cover: Cover) -> str:
    rows = [shown(part, cover) for part in value[:_LIST_MAX]]
    if len(value) > _LIST_MAX:
        rows.append(f"... {len(value) - _LIST_MAX} more")
    return "[" + ", ".join(rows) + "]"

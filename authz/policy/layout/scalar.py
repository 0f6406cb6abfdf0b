"""How one value is written on a line."""

from __future__ import annotations

import json
import re
from functools import cache

import yaml
from yaml.resolver import Resolver

from authz.policy.layout.tree import Node
from authz.policy.scalar import number_or_text

_TEXT = "tag:yaml.org,2002:str"
_TIME = "tag:yaml.org,2002:timestamp"  # a text in our dialect, and nobody writes times in quotes

# Words that no reader takes for anything else, in brackets or not; people put a URL in quotes.
_WORD = r"[A-Za-z0-9_./@+=-]+(?::(?!//)[A-Za-z0-9_./@+=-]+)*"
_PLAIN = re.compile(rf"(?![-=@]){_WORD}(?: {_WORD})*")


def scalar_text(node: Node) -> str:
    """Return a value on one line.

    What stands bare stays so. Quotes around plain words go; other texts get double quotes, or single ones
    where they hold a double quote or a backslash.
    """
    if node.style is None or is_plain(node.value):
        return node.value
    if not node.value.isprintable():
        return json.dumps(node.value, ensure_ascii=False)
    if '"' in node.value or "\\" in node.value:
        return "'" + node.value.replace("'", "''") + "'"
    return f'"{node.value}"'


def is_plain(text: str) -> bool:
    """Whether a text needs no quotes, for readers of YAML 1.1 and of 1.2."""
    return _PLAIN.fullmatch(text) is not None and _old_reading(text) in (_TEXT, _TIME) and _is_text(text)


def _is_text(word: str) -> bool:
    try:
        return isinstance(number_or_text(word), str)
    except ValueError:
        return False


def _old_reading(text: str) -> str:
    """Return what a reader of YAML 1.1 takes a bare word for."""
    return str(_resolver().resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]  # of the library


@cache
def _resolver() -> Resolver:
    return Resolver()

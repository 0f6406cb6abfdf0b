"""What an unquoted word of YAML is: nothing, a truth value, a number or a text.

Source: YAML 1.2.2, section 10.3.2: `no` is a text, `010` is ten, a date is a text.
"""

from __future__ import annotations

import math
import re

MAX_NUMBER_CHARS = 32  # no number of ours needs more; reading a megabyte of digits takes seconds
MAX_INTEGER = 2**53 - 1

_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMBER_STARTS = frozenset("+-.0123456789")


def is_text(word: str) -> bool:
    """Tell whether an unquoted word is surely a text; a word like `-x` or `1.2.3.4` needs a closer look."""
    return word not in _WORDS and word[0] not in _NUMBER_STARTS


def number_or_text(word: str) -> bool | int | float | str | None:
    """Return what an unquoted word means.

    Raises:
        ValueError: for a number that no double can hold, or with more digits than any number needs.
    """
    return _WORDS[word] if word in _WORDS else _number(word)


def _number(word: str) -> int | float | str:
    if word[0] not in _NUMBER_STARTS:
        return word
    if _ENDLESS.fullmatch(word):
        raise ValueError(f"`{word}` is no number that can be used here: write a finite one")
    if not (_FLOAT.fullmatch(word) or _BASED.fullmatch(word)):
        return word
    if len(word) > MAX_NUMBER_CHARS:
        raise ValueError("a number of too many digits: if it is a text, put it in quotes")
    if _INTEGER.fullmatch(word):
        return _exact(word, int(word))
    if word.startswith(("0o", "0x")):
        return _exact(word, int(word[2:], 8 if word[1] == "o" else 16))
    value = float(word)
    if math.isinf(value):
        raise ValueError(f"`{word}` is no number that can be used here: write a finite one")
    return value


def _exact(word: str, value: int) -> int:
    # Beyond this, JSON readers disagree about the last digits (RFC 8259, section 6).
    if abs(value) > MAX_INTEGER:
        raise ValueError(f"`{word}` is too large a number: if it is a text, put it in quotes")
    return value

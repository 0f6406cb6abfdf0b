"""What an unquoted word of a manifest is: what `kubectl` takes it for, if every reader takes it for that.

Kubernetes reads YAML as version 1.1 has it, with changes of its own: `no` and `y` are truth values and `0644`
is octal, where YAML 1.2 sees texts and a decimal number. So whatever is not the same to all stays a `Word`.

Source: `kubectl` 1.37 asked about each form (tests/kube/test_injectors_agree.py); YAML 1.2.2, section 10.3.2.
"""

from __future__ import annotations

import math
import re

from authz.injection.tree import Json, Word
from authz.policy.scalar import number_or_text

_TRUTH = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"), False),
}
_NOTHING = ("", "~", "null", "Null", "NULL")
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INTEGER = re.compile(
    r"[-+]?(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<bits>[01]+)|0[oO]?(?P<octal>[0-7]+)|0|[1-9][0-9]*)"
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_BASES = {"hex": 16, "bits": 2, "octal": 8}
_NUMBER_STARTS = frozenset("+-.0123456789")
_MAX_NUMBER_CHARS = 400  # the longest double; longer ones are texts, as nobody means them to be numbers


def value_of(word: str) -> Json:
    """Return what an unquoted word is, or the word itself where readers differ.

    Raises:
        ValueError: `kubectl` cannot read it; says what to do.
    """
    if _ENDLESS.fullmatch(word):
        raise ValueError(f"`{word}` is no number for Kubernetes: write a finite one, or put it in quotes")
    meaning = meaning_of(word)
    match meaning:
        case None:
            return None
        case bool():
            return meaning if word.lower() in ("true", "false") else Word(word)
        case int():
            return meaning if str(meaning) == word else Word(word)
        case str():
            return word if _is_text(word) else Word(word)
    return Word(word)


def meaning_of(word: str) -> bool | int | float | str | None:
    """Return what `kubectl` takes an unquoted word for."""
    if word in _NOTHING:
        return None
    if word in _TRUTH:
        return _TRUTH[word]
    if word[0] not in _NUMBER_STARTS or len(word) > _MAX_NUMBER_CHARS:
        return word
    plain = word.replace("_", "")
    number = _integer(plain)
    if number is not None:
        return number
    value = float(plain) if _FLOAT.fullmatch(plain) else math.inf
    return word if math.isinf(value) else value


def _integer(plain: str) -> int | float | None:
    found = _INTEGER.fullmatch(plain)
    if found is None:
        return None
    kind = found.lastgroup
    value = int(found[kind], _BASES[kind]) if kind else int(plain.lstrip("+-"))
    signed = -value if plain.startswith("-") else value
    # A number of 64 bits; of a larger one only a decimal is still a number, and no exact one.
    if -(2**63) <= signed < 2**64:
        return signed
    return None


def _is_text(word: str) -> bool:
    try:
        return isinstance(number_or_text(word), str)
    except ValueError:
        return False

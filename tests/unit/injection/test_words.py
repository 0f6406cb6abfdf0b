from __future__ import annotations

import pytest

from authz.injection.tree import Word
from authz.injection.words import meaning_of, value_of


@pytest.mark.parametrize(
    "word", ["text", "1.2.3", "12:30:45", "2001-01-01", "0o8", "--x", "_1", "Yes!", ".", "a: b"]
)
def test_what_is_a_text_for_everybody_is_a_text(word: str) -> None:
    assert value_of(word) == word


@pytest.mark.parametrize(
    ("word", "value"),
    [("true", True), ("FALSE", False), ("8080", 8080), ("-1", -1), ("null", None), ("", None)],
)
def test_what_is_the_same_for_everybody_is_a_value(word: str, value: object) -> None:
    found = value_of(word)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("no", False),
        ("Y", True),
        ("on", True),
        ("010", 8),
        ("0644", 0o644),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("+12", 12),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("99999999999999999999", 1e20),
        ("1e400", "1e400"),
        ("0xFFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFFF"),
        ("1" * 401, "1" * 401),
    ],
)
def test_what_readers_differ_about_stays_a_word_and_has_kubectl_s_meaning(word: str, meaning: object) -> None:
    assert value_of(word) == Word(word)
    found = meaning_of(word)
    assert (type(found), found) == (type(meaning), meaning)


@pytest.mark.parametrize("word", [".inf", "-.INF", ".nan"])
def test_what_kubectl_cannot_read_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is no number for Kubernetes: write a finite one"):
        value_of(word)

from __future__ import annotations

import json

import pytest
import yaml

from authz.injection.reading import Document, read_documents
from authz.injection.tree import Json, Word
from authz.injection.writing import as_json, as_yaml, yaml_of

TRICKY = [
    *(
        "no",
        "Yes",
        "on",
        "NULL",
        "~",
        "",
        " ",
        "y",
        "010",
        "0o10",
        "1e3",
        "0x1F",
        "1_000",
        "12:30",
        "2001-01-01",
    ),
    *(
        "-",
        "- a",
        "a: b",
        "a #b",
        "#",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        "[a",
        "{a",
        "'a",
        '"a',
        "a'",
        "|",
        ">",
    ),
    *(
        "a\n",
        "a\nb",
        "a\n\n",
        "\na",
        " a\nb",
        "a \nb",
        "\ta\nb",
        "a\r\nb",
        "a\tb",
        "\t",
        "\x85",
        "\u2028",
        "\ufeff",
    ),
    *(
        "\x07",
        "\x7f",
        "\U0001f600",
        "--- a",
        "...",
        "---",
        "=",
        "<<",
        "?",
        "? a",
        ":",
        "a:",
        ":a",
        "$(X)",
        "${x}",
    ),
]


@pytest.mark.parametrize("text", TRICKY)
def test_a_text_is_the_same_text_for_every_reader(text: str) -> None:
    written = yaml_of({"k": text, "l": [text, {"m": text}], text or "x": 1})
    again: Json = (
        read_documents(written.encode(), "f")[0].data if "\x07" not in text else yaml.safe_load(written)
    )
    assert again == {"k": text, "l": [text, {"m": text}], text or "x": 1}
    assert yaml.safe_load(written) == again


def test_what_is_no_text_is_written_as_it_is() -> None:
    assert yaml_of({"a": None, "b": True, "c": 80, "d": Word("0644"), "e": [], "f": {}, "g": "8080"}) == (
        'a: null\nb: true\nc: 80\nd: 0644\ne: []\nf: {}\ng: "8080"\n'
    )


def test_long_texts_stay_in_one_line_and_lines_stay_lines() -> None:
    assert yaml_of({"a": "word " * 100 + "end", "b": "x\n  y\n"}).count("\n") == 4


def test_documents_that_did_not_change_are_written_as_they_stood() -> None:
    text = "# head\na:   1\n---\nb: 2\n--- # three\nc: 3"
    documents = read_documents(text.encode(), "f")
    assert "".join(as_yaml(documents, [None, None, None])) == f"{text}\n"
    assert "".join(as_yaml(documents, [None, {"b": 3}, None])) == (
        "# head\na:   1\n---\nb: 3\n--- # three\nc: 3\n"
    )


def test_a_document_without_a_text_of_its_own_is_written_anew() -> None:
    documents = [Document("f", 1, {"a": Word("no")}, ""), Document("f", 2, {"b": 1}, "{b: 1}\n")]
    assert "".join(as_yaml(documents, [None, None])) == "a: no\n---\n{b: 1}\n"


def test_json_has_what_kubectl_takes_a_word_for() -> None:
    text = "".join(as_json([{"a": Word("no"), "b": [Word("0644"), Word("1.10")]}, "\u00e9"]))
    assert text.endswith('}\n"\u00e9"\n')
    assert json.loads(text[: text.rindex("}") + 1]) == {"a": False, "b": [420, 1.1]}

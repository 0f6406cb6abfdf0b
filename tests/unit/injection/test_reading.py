from __future__ import annotations

import pytest

from authz.injection.reading import MAX_BYTES, MAX_DEPTH, MAX_DOCUMENTS, MAX_VALUES, read_documents
from authz.injection.tree import Json, Word
from authz.model.errors import PolicyError


def data(text: str) -> list[Json]:
    return [each.data for each in read_documents(text.encode(), "f")]


def fault(content: str | bytes) -> str:
    with pytest.raises(PolicyError) as caught:
        read_documents(content if isinstance(content, bytes) else content.encode(), "f")
    told = str(caught.value)
    assert "\n" not in told
    return told


def test_documents_are_numbered_as_people_count_them_and_keep_their_text() -> None:
    text = "# head\na: 1\n---\n# only this\n---\nb: 2 # two\n\n# after\n---\nc: |\n  x\n"
    found = read_documents(text.encode(), "f")
    assert [(each.number, each.data) for each in found] == [(1, {"a": 1}), (3, {"b": 2}), (4, {"c": "x\n"})]
    assert [each.text for each in found] == [
        "# head\na: 1\n",
        "---\nb: 2 # two\n\n# after\n",
        "---\nc: |\n  x\n",
    ]
    assert {each.file for each in found} == {"f"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a: 1", "a: 1\n"),
        ("a: |\n  x", ""),  # whose value a line break at the end would change
        ("%YAML 1.2\n---\na: 1\n", ""),
        ("a: \u2028 1\n", "a: \u2028 1\n"),
    ],
)
def test_a_text_that_could_not_stand_alone_is_not_kept(text: str, kept: str) -> None:
    assert [each.text for each in read_documents(text.encode(), "f")] == [kept]


def test_lines_are_those_that_the_reader_counts() -> None:
    found = read_documents("a: '\u2028 \x85'\r\n---\r\nb: 1\r\n...\n---\nc: 2\n".encode(), "f")
    assert [each.text for each in found] == ["a: '\u2028 \x85'\r\n", "---\r\nb: 1\r\n...\n", "---\nc: 2\n"]


def test_a_byte_order_mark_is_none_of_the_text() -> None:
    assert read_documents(b"\xef\xbb\xbfa: 1\n", "f")[0].text == "a: 1\n"


def test_what_kubernetes_reads_is_read() -> None:
    assert data("a:\nb: ~\nc: {}\nd: [no, 0644, 'no', yes-man]\ne: \"\\t\"\nf:\t1\n") == [
        {
            "a": None,
            "b": None,
            "c": {},
            "d": [Word("no"), Word("0644"), "no", "yes-man"],
            "e": "\t",
            "f": 1,
        }
    ]
    assert data("a: &x {b: 1}\nc: *x\n") == [{"a": {"b": 1}, "c": {"b": 1}}]


def test_json_is_read_value_by_value() -> None:
    text = '{"a": "\\ud83d\\ude00", "b": 1.50, "c": 1e400, "d": -0,\n\t"e": 123456789012345678901,'
    text += ' "f": 12345678901234567890}'
    text += '\n {"a": null} []'
    assert data(text) == [
        {
            "a": "\U0001f600",
            "b": Word("1.50"),
            "c": Word("1e400"),
            "d": Word("-0"),
            "e": Word("123456789012345678901"),
            "f": 12345678901234567890,
        },
        {"a": None},
        [],
    ]
    assert [each.text for each in read_documents(b'{"a": 1} {"b":2}', "f")] == ["", ""]


def test_what_only_begins_like_json_is_yaml() -> None:
    assert data("{a: no}\n---\n{b: 1}\n") == [{"a": Word("no")}, {"b": 1}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a: \xff", "f:1:4: not UTF-8"),
        (b"\xef\xbb\xbf \xa3", "f:1:2: not UTF-8"),
        ("a: 1\nb: \x00", "f:2:4: the character U+0000 is not allowed here"),
        ("a: [", "f:2:1: not well-formed YAML"),
        ("a: 1\na: 2\n", "f:2:1: `a` stands twice"),
        ("a: 1\n'a': 2\n", "f:2:1: `a` stands twice"),
        ("a: !!binary x\n", "f:1:4: a tag: write the value without `tag:yaml.org,2002:binary`"),
        ("a: !x [b]\n", "f:1:4: a tag"),
        ("!!str a: 1\n", "a key must be a text"),
        ("[a]: 1\n", "a key must be a text"),
        ("&x a: 1\n", "a key must be a text"),
        ("<<: {a: 1}\n", "a merge key: write the fields out"),
        ("on: 1\n", "the key `on` is not a text"),
        ("80: 1\n", "the key `80` is not a text"),
        ("a: .inf\n", "f:1:4: `.inf` is no number for Kubernetes"),
        ("a: *x\n", "no anchor `x` stands before this"),
        ("a: &x 1\n---\nb: *x\n", "no anchor `x` stands before this"),
        ("a: &x [*x]\n", "no anchor `x`"),
        ("[" * (MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH}"),
        ('{"a":' * (MAX_DEPTH + 2) + "1" + "}" * (MAX_DEPTH + 2), f"nested deeper than {MAX_DEPTH}"),
        ('{"a":' * 100_000, f"nested deeper than {MAX_DEPTH}"),
        ('{"a": {"b": 1, "b": 2}}', "f:1:1: `b` stands twice"),
        ('{"a": ["\\ud800"]}', "f:1:1: half of a surrogate pair"),
        ("{} " * (MAX_DOCUMENTS + 1), f"more than {MAX_DOCUMENTS} documents"),
        ('{"a": NaN}', "`NaN` is no number of JSON"),
        ("a: &a [x]\n" + "".join(f"b{i}: *a\n" for i in range(65)), "more than 64 aliases"),
        ("---\na: 1\n" * (MAX_DOCUMENTS + 1), f"more than {MAX_DOCUMENTS} documents"),
        (b"a" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_or_is_too_much_is_refused(
    content: str | bytes, told: str
) -> None:
    assert told in fault(content)


def test_aliases_of_aliases_repeat_only_so_much() -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 8))
    assert "the alias repeats too much" in fault("a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + levels)


def test_more_values_than_anybody_needs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_VALUES == 1_000_000
    monkeypatch.setattr("authz.injection.reading.MAX_VALUES", 1000)
    assert "more than 1000 values" in fault("[" + "1," * 2000 + "]\n# YAML\n")
    assert "more than 1000 values" in fault('{"a": [' + "1," * 2000 + "1]}")
    assert "more than 1000 values" in fault('{"a": [1, 2]}' * 300)

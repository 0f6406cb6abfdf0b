from __future__ import annotations

import sys
import time

import pytest

from authz.policy.yaml import MAX_FILE_BYTES, parse

BUDGET_S = 1.0 if sys.gettrace() is None else 8.0  # measuring coverage costs several times the work


def read(text: str | bytes) -> object:
    content = text if isinstance(text, bytes) else text.encode()
    parsed = parse(content, "f.yaml")
    assert not parsed.faults, parsed.faults
    (tree,) = parsed.trees
    return tree.data


def refused(text: str | bytes) -> list[str]:
    content = text if isinstance(text, bytes) else text.encode()
    return [str(fault) for fault in parse(content, "f.yaml").faults]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("010", 10),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3.4", "1.2.3.4"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("'~'", "~"),
        ("e09102e2", "e09102e2"),
        ("100/s", "100/s"),
        ("-x", "-x"),
        ("=", "="),
    ],
)
def test_an_unquoted_word_means_what_the_core_schema_says(word: str, value: object) -> None:
    found = read(f"a: {word}")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: `a` stands twice: remove one"),
        ("a: {b: 1, c: 2, b: 3}", "f.yaml:1:17: `b` stands twice: remove one"),
        ("a: !!str x", "f.yaml:1:4: a tag: remove `tag:yaml.org,2002:str`"),
        (
            "a: !!python/object:os.system {}",
            "f.yaml:1:4: a tag: remove `tag:yaml.org,2002:python/object:os.system`",
        ),
        ("a: ! x", "f.yaml:1:4: a tag: remove `!`"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f.yaml:3:3: a merge key: write the fields out"),
        ("1: x", "f.yaml:1:1: the key `1` is not a text: put it in quotes"),
        ("a:\n  true: x", "f.yaml:2:3: the key `true` is not a text: put it in quotes"),
        ("~: x", "f.yaml:1:1: the key `~` is not a text: put it in quotes"),
        (
            "99999999999999999999999999999999999: x",
            "f.yaml:1:1: the key `99999999999999999999999999999999999` is not",
        ),
        ("? [a]\n: b", "f.yaml:1:3: a key must be a text: write it out"),
        ("a: &x b\n*x : c", "f.yaml:2:1: a key must be a text: write it out"),
        ("&x a: b", "f.yaml:1:1: a key has no tag and no anchor: remove it"),
        ("a: *nowhere", "f.yaml:1:4: no anchor `nowhere` stands before this: write the value out"),
        ("a: &x 1\nb: &x 2", "f.yaml:2:4: the anchor `x` stands twice: name one otherwise"),
        ("a: &x [*x]", "f.yaml:1:8: no anchor `x` stands before this: write the value out"),
        ("a: &x 1\n---\nb: *x", "f.yaml:3:4: no anchor `x` stands before this: write the value out"),
        ("a:\n  methods:\n  b: 1", "f.yaml:2:11: a value is missing: write one, or remove the line"),
        ("a: [1, ~]", "f.yaml:1:8: a value is missing: write one, or remove the line"),
        ("a: null", "f.yaml:1:4: a value is missing: write one, or remove the line"),
        ("a: .inf", "f.yaml:1:4: `.inf` is no number that can be used here: write a finite one"),
        ("a: .NaN", "f.yaml:1:4: `.NaN` is no number that can be used here: write a finite one"),
        ("a: 1e999", "f.yaml:1:4: `1e999` is no number that can be used here: write a finite one"),
        ("a: " + "9" * 5000, "f.yaml:1:4: a number of too many digits: if it is a text, put it in quotes"),
        ("a: 0x" + "f" * 5000, "f.yaml:1:4: a number of too many digits: if it is a text, put it in quotes"),
        (
            "a: 9007199254740992",
            "f.yaml:1:4: `9007199254740992` is too large a number: if it is a text, put it",
        ),
        ("a: -0777777777777777777", "f.yaml:1:4: `-0777777777777777777` is too large a number"),
        ('a: "x\\0y"', "f.yaml:1:4: a NUL in a text: remove it"),
        ("a: 1\n\tb: 2", "f.yaml:2:1: a tab: indent with spaces, and write `\\t` in double quotes"),
        ("a: 'x\ty'", "f.yaml:1:6: a tab: indent with spaces"),
        ("\ufeffa: 1", "f.yaml:1:1: a byte order mark: save the file as UTF-8 without one"),
        ("a: 1\nb: x\0y", "f.yaml:2:5: the character U+0000 is not allowed here: remove it"),
        ("a: é\x07", "f.yaml:1:5: the character U+0007 is not allowed here: remove it"),
        ("a: x\rb: y", "f.yaml:1:5: a carriage return alone: end lines with a line feed"),
        ("a: x\u2028b: y", "f.yaml:1:5: U+2028 ends a line for some readers only: remove it"),
        ("a: x\u0085b: y", "f.yaml:1:5: U+0085 ends a line for some readers only: remove it"),
        ("a: x\u202ey", "f.yaml:1:5: the character U+202E is not allowed here: remove it"),
        (b"a: 1\nb: \xff\xfe", "f.yaml:2:4: not UTF-8: save the file as UTF-8"),
        (b"a: \xc0\xaf", "f.yaml:1:4: not UTF-8: save the file as UTF-8"),
        (b"\xff\xfea\0:\0 \x001\0", "f.yaml:1:1: not UTF-8: save the file as UTF-8"),
        ("a: [1, 2", "f.yaml:2:1: not well-formed YAML: "),
        ("a: b: c", "f.yaml:1:5: not well-formed YAML: "),
        ("a: 'x", "f.yaml:1:6: not well-formed YAML: "),
        ("a: @x", "f.yaml:1:4: not well-formed YAML: "),
        ("a: " + "[" * 33 + "]" * 33, "f.yaml:1:35: nested deeper than 32: flatten it"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused_with_its_place(
    text: str | bytes, fault: str
) -> None:
    assert any(found.startswith(fault) for found in refused(text)), refused(text)


def test_lines_may_end_in_carriage_return_and_line_feed() -> None:
    assert read("a: 1\r\nb:\r\n  - x\r\n") == {"a": 1, "b": ["x"]}


def test_an_alias_repeats_what_its_anchor_holds() -> None:
    assert read("a: &x [1, {b: c}]\nd: *x") == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}


def test_empty_documents_count_as_places_but_hold_nothing() -> None:
    parsed = parse(b"---\n---\na: 1\n---\n# only a comment\n", "f.yaml")
    assert [(tree.position, tree.data) for tree in parsed.trees] == [(1, {"a": 1})]
    assert not parsed.faults


def test_documents_before_a_fault_that_stops_reading_are_kept() -> None:
    parsed = parse(b"a: 1\n---\nb: [1\n", "f.yaml")
    assert [tree.data for tree in parsed.trees] == [{"a": 1}]
    assert len(parsed.faults) == 1


def test_several_faults_of_one_file_are_all_told() -> None:
    assert len(refused("a: ~\na: 1\n1: 2\n")) == 3


def test_a_flood_of_faults_is_cut_off() -> None:
    found = refused("a: [" + "~, " * 5000 + "]")
    assert len(found) == 51
    assert found[-1].endswith("more than 50 faults: the rest of the file was not read")


def test_aliases_are_bounded_in_number_size_and_depth() -> None:
    many = "a: &x 1\nb: [" + "*x, " * 65 + "]"
    assert refused(many) == ["f.yaml:2:261: more than 64 aliases in one file: write the values out"]
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 7)
    )
    assert "the alias repeats too much" in refused(laughs)[-1]
    deep = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 40))
    assert "the alias repeats too much" in refused(deep)[-1]


@pytest.mark.parametrize(
    "bomb",
    [
        b"[" * MAX_FILE_BYTES,
        b"{" * MAX_FILE_BYTES,
        b"- " * (MAX_FILE_BYTES // 2),
        b"? " * (MAX_FILE_BYTES // 2),
        b"[\n" * (MAX_FILE_BYTES // 2),
        b"a: &a [" * (MAX_FILE_BYTES // 7),
        b"a:\n" * (MAX_FILE_BYTES // 3),
        b"---\n" * (MAX_FILE_BYTES // 4),
        b"a: '" + b"x" * (MAX_FILE_BYTES - 4),
        b"a: " + b"9" * (MAX_FILE_BYTES - 3),
        b"a: [" + b"1," * (MAX_FILE_BYTES // 2 - 4) + b"]",
        b"a: [" + b"!x 1," * (MAX_FILE_BYTES // 5 - 4) + b"]",
        b"[" + b"&x y," * (MAX_FILE_BYTES // 5 - 4) + b"]",
        b"\n".join(b"%s%d: 1" % (b" " * (n % 3), n) for n in range(60_000)),
        b"a: |\n" + b"  x\n" * (MAX_FILE_BYTES // 4 - 4),
        b"#" * MAX_FILE_BYTES,
        b"\xff" * 10_000_000,
        b"a: 1\n" * 2_000_000,
        b"'a" * (MAX_FILE_BYTES // 2),
        b"{" + b"?," * (MAX_FILE_BYTES // 2 - 4) + b"}",
    ],
    ids=lambda bomb: bomb[:8].decode("ascii", "replace").replace("\n", "/"),
)
def test_no_file_takes_a_second(bomb: bytes) -> None:
    begun = time.process_time()
    parsed = parse(bomb, "f.yaml")
    for fault in parsed.faults[:3]:
        assert fault.place.line >= 1
    assert parsed.source.place(0, ("a", 0, "b")).line >= 1
    assert time.process_time() - begun < BUDGET_S


def test_values_and_documents_of_a_file_are_bounded() -> None:
    assert refused("a: [" + "1," * 100_000 + "]") == [
        "f.yaml:1:200001: more than 100000 values in one file: split it"
    ]
    assert refused("---\n" * 10_001) == ["f.yaml:10001:1: more than 10000 documents in one file: split it"]


def test_a_file_that_is_too_large_is_refused_unread() -> None:
    assert refused(b"a" * 10_000_000) == [
        "f.yaml:1:1: the file has 10000000 bytes, the limit is 1048576: split it"
    ]

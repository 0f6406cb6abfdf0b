from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.policy.layout.layout import Unformatted, formatted
from authz.policy.load import load
from authz.policy.yaml import parse

ROOT = Path(__file__).parents[4]
FILES = sorted([*ROOT.glob("policies/examples/**/*.yaml"), *ROOT.glob("tests/golden/sets/*.yaml")])


def fmt(text: str) -> str:
    return formatted(dedent(text).lstrip("\n").encode(), "f.yaml").decode()


def same(text: str) -> None:
    """Check that a text is in its written form already."""
    text = dedent(text).lstrip("\n")
    assert fmt(text) == text


def test_fields_stand_in_the_order_of_the_contract() -> None:
    assert fmt(
        """
        spec:
          rules:
          - effect: allow
            identity: [anyone]
            name: read
          hosts: [a.example.com]
        kind: Policy
        metadata: {labels: {b: x, a: y}, name: p}
        apiVersion: policy.authz/v1alpha1
        """
    ) == dedent(
        """\
        apiVersion: policy.authz/v1alpha1
        kind: Policy
        metadata: {name: p, labels: {b: x, a: y}}
        spec:
          hosts: [a.example.com]
          rules:
            - name: read
              effect: allow
              identity: [anyone]
        """
    )


def test_comments_go_where_their_entries_go() -> None:
    assert fmt(
        """
        # About this file.

        kind: Policy   # what it is
        # its version
        apiVersion: policy.authz/v1alpha1
        metadata: {name: p}
        spec:
            # the rules
            rules:
                # reading

                - effect: allow      # yes
                  # who
                  identity: [ anyone ]
                  name: read
                # - name: commented-out
            # the hosts
            hosts: [a.example.com,   # first
              b.example.com]
            # the end of spec
        # the end
        """
    ) == dedent(
        """\
        # About this file.

        # its version
        apiVersion: policy.authz/v1alpha1
        kind: Policy   # what it is
        metadata: {name: p}
        spec:
          # the hosts
          hosts:
            - a.example.com          # first
            - b.example.com
          # the rules
          rules:
            # reading

            - name: read
              effect: allow          # yes
              # who
              identity: [anyone]
            # - name: commented-out
          # the end of spec
        # the end
        """
    )


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ('"plain words"', "plain words"),
        ("'items:read'", "items:read"),
        ('"no"', '"no"'),
        ("'no'", '"no"'),
        ('"12"', '"12"'),
        ("'1e5'", '"1e5"'),
        ("'12:30:00'", '"12:30:00"'),
        ('""', '""'),
        ("'a # b'", '"a # b"'),
        ("'it''s \"so\"'", "'it''s \"so\"'"),
        (r'"back\\slash"', r"'back\slash'"),
        (r'"two\nlines"', r'"two\nlines"'),
        ('"https://a.example.com/x"', '"https://a.example.com/x"'),
        ("a, b", "a, b"),
        ("2026-01-01", "2026-01-01"),
        ("{}", "{}"),
    ],
)
def test_quotes_stand_where_a_reader_needs_them(written: str, wanted: str) -> None:
    assert fmt(f"kind: X\nspec: {{a: 1}}\nx: {written}\n") == f"kind: X\nspec: {{a: 1}}\nx: {wanted}\n"


def test_brackets_stay_where_they_fit_on_a_line() -> None:
    short = f"a: [{', '.join('x' * 8 for _ in range(11))}]\n"
    assert fmt(short) == short
    wide = f"a: [{', '.join('x' * 8 for _ in range(13))}]  # why\n"
    lines = fmt(wide).splitlines()
    assert lines[0] == f"a:{' ' * (wide.index('#') - 2)}# why"
    assert lines[1:] == ["  - xxxxxxxx"] * 13
    assert fmt("a: [b,\n   c,\n   {d: e,\n f: g}]\n") == "a: [b, c, {d: e, f: g}]\n"


def test_texts_of_several_lines_stay_so() -> None:
    same(
        """
        a: |
          one

            two
        b: >-  # folded
          one
          two
        c: one
          two  # beside
        d:
          - |-
            x
          - - y
            - z
        """
    )
    assert fmt("a:\n    - |\n        x\n         y\n") == "a:\n  - |\n    x\n     y\n"
    assert fmt('a: "one\n  two"\nb: |+\n  x\n\nc: y\n') == 'a: one two\nb: "x\\n\\n"\n\nc: y\n'


def test_references_stay_behind_what_they_refer_to() -> None:
    same(
        """
        spec:
          rules:
            - &one
              name: read
            - *one
          hosts: &hosts [a]
          more: *hosts
        kind: Policy
        """
    )


def test_documents_are_kept_apart_by_one_line() -> None:
    assert fmt(
        "---\n# one\na: b\n...\n---\n# nothing here\n---\n\n\nc: d\n\n\n\ne: f\n# last\n---\n# over\n"
    ) == ("# one\na: b\n---\n# nothing here\n\nc: d\n\ne: f\n# last\n# over\n")
    same("# only remarks\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "2:1: not well-formed"),
        ("a: b\na: c\n", "2:1: `a` stands twice"),
        ("a: !x b\n", "1:4: a tag"),
    ],
)
def test_a_text_with_faults_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(Unformatted) as refused:
        fmt(text)
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_of_ours_changes_its_meaning(file: Path) -> None:
    content = file.read_bytes()
    done = formatted(content, "f.yaml")
    assert [tree.data for tree in parse(done, "f").trees] == [tree.data for tree in parse(content, "f").trees]
    assert formatted(done, "f.yaml") == done


def test_a_set_keeps_its_revision() -> None:
    files = {path.name: path.read_bytes() for path in (ROOT / "policies/examples/demo").glob("*.yaml")}
    done = {name: formatted(content, name) for name, content in files.items()}
    assert load(done).revision == load(files).revision


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_a_comment_anywhere_is_kept_and_nothing_is_refused(file: Path, data: st.DataObject) -> None:
    lines = file.read_text().splitlines()
    before = [tree.data for tree in parse("\n".join(lines).encode(), "f").trees]
    for number in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        if data.draw(st.booleans()):
            lines[at] += f"{' ' * data.draw(st.integers(1, 6))}# beside {number}"
        else:
            lines.insert(at, f"{' ' * data.draw(st.integers(0, 10))}# above {number}")
        if data.draw(st.booleans()):
            lines.insert(at, "")
    content = "\n".join(lines).encode()
    if [tree.data for tree in parse(content, "f").trees] != before or parse(content, "f").faults:
        return  # it stands inside a text
    done = formatted(content, "f.yaml").decode()
    assert done.count("# beside") + done.count("# above") == content.decode().count(
        "# beside"
    ) + content.decode().count("# above")


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.text(alphabet="ab:#-{}[]'\"\\ \n,&*|>%@`!?0e1.é", max_size=12)
        | st.integers(0, 99)
        | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(alphabet="ab-: #'0é", min_size=1, max_size=6), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    st.sampled_from([True, False, None]),
)
def test_any_data_in_any_style_comes_out_as_it_went_in(value: object, flow: bool | None) -> None:
    content = yaml.safe_dump(
        {"kind": "Policy", "spec": value}, default_flow_style=flow, allow_unicode=True, width=30
    ).encode()
    if not parse(content, "f").faults:
        formatted(content, "f.yaml")

"""Whatever stands in the files: a set, or a rejection that says where and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from authz.model.errors import SnapshotRejected
from authz.policy.host import parse_host
from authz.policy.load import load
from authz.policy.loaded import Loaded
from authz.policy.path import parse_path
from tests.support.documents import PER_CUSTOMER, PER_KEY, PROVIDER, document, join, key, policy

Pattern = TypeVar("Pattern")

WHOLE = join(
    PROVIDER,
    PER_KEY,
    PER_CUSTOMER,
    key(),
    policy("effect: allow, identity: [keys], paths: ['/a/{id}'], limits: [per-key]"),
    document("Site", "x", "{hosts: [a], onDeny: {default: {headers: {a: b}}}}"),
)
SCALARS = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.sampled_from(["~", "'", "&a", "*a", "!x", "<<", "2026-01-01T00:00:00Z", "Policy", "1/s"]),
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "name",
        "hosts",
        "rules",
        "per",
        "rate",
        "in",
        "apiKey",
        "cases",
        "x",
    ]
)
TREES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(FIELDS, below, max_size=4)
)


def set_or_rejection(content: bytes) -> None:
    try:
        assert isinstance(load({"f.yaml": content}), Loaded)
    except SnapshotRejected as rejected:
        for fault in rejected.faults:
            assert fault.place.line >= 1
            assert fault.place.column >= 1
            assert fault.what.isprintable(), fault.what
            assert "pydantic" not in fault.what


def pattern_or_prose(parse: Callable[[str], Pattern], text: str) -> Pattern | None:
    told = ""
    try:
        return parse(text)
    except ValueError as error:
        told = str(error)
    assert told
    assert told.isprintable()
    return None


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbfa: 1")
@example(b"kind: Policy\nspec: {rules: [{name: 1}]}")
def test_any_bytes_give_a_set_or_a_rejection(content: bytes) -> None:
    set_or_rejection(content)


@given(st.text(max_size=200))
def test_any_text_gives_a_set_or_a_rejection(text: str) -> None:
    set_or_rejection(text.encode("utf-8", "surrogatepass"))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["Policy", "Site", "IdentityProvider", "ApiKey", "Customer", "Limit", "PolicyTest"]),
    TREES,
)
def test_any_tree_under_any_kind_gives_a_set_or_a_rejection(kind: str, tree: object) -> None:
    text = f"apiVersion: policy.authz/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {tree!r}\n"
    set_or_rejection(text.encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 12), st.text(max_size=6))
def test_a_set_with_any_damage_gives_a_set_or_a_rejection(at: int, length: int, inserted: str) -> None:
    damaged = WHOLE[:at] + inserted + WHOLE[at + length :]
    set_or_rejection(damaged.encode("utf-8", "surrogatepass"))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_set_that_breaks_off_gives_a_set_or_a_rejection(at: int) -> None:
    set_or_rejection(WHOLE[:at].encode())


@given(st.text(st.sampled_from("abA.*{}[]:-_%é x1/"), max_size=20))
def test_a_host_pattern_that_is_accepted_is_canonical(text: str) -> None:
    pattern = pattern_or_prose(parse_host, text)
    if pattern is None:
        return
    assert pattern.host == pattern.host.lower()
    assert parse_host(text) == pattern


@given(st.text(st.sampled_from("ab/.%24fFeE*{}; é?#\\~+"), max_size=20))
def test_a_path_pattern_that_is_accepted_is_canonical(text: str) -> None:
    pattern = pattern_or_prose(parse_path, "/" + text)
    if pattern is None:
        return
    for segment in pattern.segments:
        assert segment is None or (segment.isascii() and segment not in ("", ".", ".."))
    names = [name for name, _ in pattern.captures]
    assert len(names) == len(set(names))
    written = "/".join("*" if one is None else one.replace("*", "%2A") for one in pattern.segments)
    again = parse_path("/" + written + ("/**" if pattern.rest and written else "**" if pattern.rest else ""))
    assert (again.segments, again.rest) == (pattern.segments, pattern.rest)


def test_the_whole_set_is_a_set() -> None:
    assert load({"f.yaml": WHOLE.encode()}).revision
    with pytest.raises(SnapshotRejected):
        load({"f.yaml": WHOLE[:-40].encode()})

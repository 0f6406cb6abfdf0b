"""What is kept comes back as it was, or not at all."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.snapshot.kept import HEAD_BYTES, REVISIONS, Damaged, Kept, decode, encode
from authz.snapshot.parts import Files

REVISION = "0123456789ab"
_NAMES = st.text(st.characters(codec=None), max_size=8)
_PARTS = st.dictionaries(_NAMES, st.dictionaries(_NAMES, st.binary(max_size=20), max_size=3), max_size=3)


def kept(**parts: dict[str, bytes]) -> Kept:
    return Kept("a-set", REVISION, (REVISION,), {part: Files(files) for part, files in parts.items()})


def written(one: Kept) -> bytes:
    return b"".join(encode(one))


def forged(body: bytes) -> bytes:
    """Content whose digest is right, whoever wrote it."""
    return b"authz-state 1 " + sha256(body).hexdigest().encode() + b"\n" + body


def body(*lines: object, rest: bytes = b"") -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines) + rest


def manifest(**changes: object) -> dict[str, object]:
    return {"set": "a-set", "revision": REVISION, "active": [], "count": 0} | changes


@given(_PARTS)
def test_whatever_the_files_hold_comes_back(parts: dict[str, dict[str, bytes]]) -> None:
    one = kept(**parts)
    assert decode(written(one)) == one


def test_large_files_come_back_and_are_written_in_blocks() -> None:
    one = kept(platform={f"{number}.yaml": bytes([number]) * 100_000 for number in range(9)}, overrides={})
    blocks = encode(one)
    assert len(blocks[0]) == HEAD_BYTES
    assert 2 < len(blocks) < 9
    assert decode(b"".join(blocks)) == one


def test_others_may_use_the_interpreter_after_each_file() -> None:
    breaths: list[None] = []
    encode(kept(platform={"a": b"a", "b": b"b"}, scopes={"c": b"c"}), lambda: breaths.append(None))
    assert len(breaths) == 3


def test_cut_anywhere_it_is_refused() -> None:
    content = written(kept(platform={"a.yaml": b"a: b\n" * 3}))
    for end in range(len(content)):
        with pytest.raises(Damaged):
            decode(content[:end])


def test_with_any_byte_changed_it_is_refused() -> None:
    content = written(kept(platform={"a.yaml": b"a: b\n"}))
    for at in range(len(content)):
        with pytest.raises(Damaged):
            decode(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def test_another_format_is_told_apart_from_damage() -> None:
    content = written(kept(platform={"a.yaml": b"a"}))
    for version in (b"0", b"2", b"12"):
        with pytest.raises(Damaged, match="written by another version of authz"):
            decode(content.replace(b"authz-state 1", b"authz-state " + version))
    with pytest.raises(Damaged, match="not a set that was kept"):
        decode(b"hello")


@pytest.mark.parametrize(
    "forgery",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[" * 60_000 + b"\n",
        body(manifest(more=1)),
        body(manifest(set=1)),
        body(manifest(revision="0123456789AB")),
        body(manifest(revision="../../etc/x")),
        body(manifest(active=["x"])),
        body(manifest(active=[1])),
        body(manifest(count=-1), ["platform", "a", 0]),
        body(manifest(count=1)),
        body(manifest(), rest=b"x"),
        body(manifest(count=1), ["platform", "a", -1]),
        body(manifest(count=1), ["platform", "a", 2], rest=b"x"),
        body(manifest(count=1), ["platform", "a", 0.5]),
        body(manifest(count=1), ["platform", None, 1], rest=b"x"),
        body(manifest(count=1), {"platform": "a"}),
        body(manifest(count=2), ["platform", "a", 0], ["platform", "a", 0]),
        body(manifest(count=10**9), *(["p", str(number), 0] for number in range(9))),
        b"\xff\n",
    ],
)
def test_what_is_not_written_as_we_write_is_refused_though_its_digest_is_right(forgery: bytes) -> None:
    with pytest.raises(Damaged, match="damaged: it cannot be read"):
        decode(forged(forgery))
    assert decode(forged(body(manifest()))) == Kept("a-set", REVISION, (), {})


def test_only_so_many_revisions_are_believed() -> None:
    many = [f"{number:012x}" for number in range(REVISIONS + 9)]
    assert decode(forged(body(manifest(active=many)))).active == tuple(many[-REVISIONS:])

"""A policy file as text: read quickly, every fault at a place, and read as any other parser reads it."""

from __future__ import annotations

import time
from typing import Any

import yaml
from yaml import CBaseLoader

from authz.policy.loaded import canonical_json
from authz.policy.yaml import Data, parse
from tests.fuzz.target import Target

_CPU_S = 1.0  # threats.md: a load error in under a second


def run(data: bytes) -> None:
    """Parse one file."""
    began = time.thread_time()
    parsed = parse(data, "f.yaml")
    assert time.thread_time() - began < _CPU_S
    lines = data.count(b"\n") + 1
    for fault in parsed.faults:
        assert 1 <= fault.place.line <= lines + 1
        assert fault.place.column >= 1
        assert fault.what
        assert fault.what.isprintable()
    if parsed.faults:
        return
    for tree in parsed.trees:
        parsed.source.place(tree.position, ())
        canonical_json(tree.data)
    _reads_alike(data, [tree.data for tree in parsed.trees])


def _reads_alike(data: bytes, ours: list[Data]) -> None:
    """Another loader finds the same shape and the same texts: a reviewer's tools see what we see."""
    theirs = [tree for tree in yaml.load_all(data.decode(), Loader=CBaseLoader) if tree not in ("", None)]
    assert len(theirs) == len([tree for tree in ours if tree != ""])
    for one, other in zip([tree for tree in ours if tree != ""], theirs, strict=True):
        _same(one, other)


def _same(one: Data, other: Any) -> None:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        assert list(one) == list(other)
        for name, value in one.items():
            _same(value, other[name])
    elif isinstance(one, list):
        assert isinstance(other, list)
        assert len(one) == len(other)
        for mine, their in zip(one, other, strict=True):
            _same(mine, their)
    elif isinstance(one, str):
        assert one == other
    elif isinstance(one, bool):
        assert other in ("true", "True", "TRUE") if one else other in ("false", "False", "FALSE")
    elif isinstance(one, int):
        assert one == int(other, 0 if other.startswith(("0o", "0x")) else 10)
    else:
        assert isinstance(other, str)


TARGET = Target(
    run,
    2048,
    tuple(
        word.encode()
        for word in (
            *("---\n", "...\n", ": ", "- ", "\n  ", "{", "}", "[", "]", "&a ", "*a", "<<: ", "!!str ", "!x "),
            *('"', "'", "|\n", ">-\n", "? ", "no", "010", "0x1f", "1e3", ".inf", "~", "null", "# c\n", "\t"),
            *("\r\n", "\\u0000", "\ufeff", "\u2028", "%YAML 1.2\n", "\\", "\x00"),
        )
    ),
)

"""Spellings of the protected path: those that climb out of the open one must arrive."""

from __future__ import annotations

from random import Random

import pytest

from authz.attack.aim import Aim
from authz.attack.case import Ask, Case
from authz.attack.oracle import protected_reading
from authz.attack.paths import cases

_CLIMBING = ("slashes", "dots", "escapes", "parameters", "utf8")


def _through(public: bytes) -> dict[str, str]:
    """Return the paths that begin at the open one."""
    found: list[Case] = list(cases(Aim(b"a.test", b"/api/v1/items", open=public), Random(1), 8))
    asks = [(case.group, case.inputs[0]) for case in found if case.group in (*_CLIMBING, "long-paths")]
    return {
        given.path.decode("latin-1"): group
        for group, given in asks
        if isinstance(given, Ask) and given.path.startswith(public)
    }


@pytest.mark.parametrize("public", [b"/public", b"/public/hello", b"/a/b/c/d"])
def test_every_way_out_of_the_open_path_leads_to_the_protected_one(public: bytes) -> None:
    paths = _through(public)
    assert len([path for path, group in paths.items() if group in _CLIMBING]) == 26
    assert [path for path in paths if protected_reading(path, "/api/v1/items") is None] == []


def test_one_level_is_left_by_one_step_and_two_by_two() -> None:
    assert {"/public/../api/v1/items", "/public/..;/api/v1/items"} <= set(_through(b"/public"))
    assert {"/public/hello/../../api/v1/items", "/public/hello%2f..%2f..%2fapi/v1/items"} <= set(
        _through(b"/public/hello")
    )


def test_signs_in_the_paths_of_the_caller_stay_as_they_are() -> None:
    assert "/a<b>/../api/v1/items" in _through(b"/a<b>")

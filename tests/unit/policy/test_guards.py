"""Where a guard does not reach although it seems to."""

from __future__ import annotations

import pytest

from tests.support.documents import document, loaded


def site(name: str, hosts: str, *, guarded: bool) -> str:
    guard = ", guard: {rate: 1/s}" if guarded else ""
    return document("Site", name, f"{{hosts: {hosts}{guard}}}")


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ('["*"]', "[a.x]"),
        ('["*"]', '["*.x"]'),
        ('["*.x"]', "[a.x]"),
        ('["*.x"]', '["*.a.x"]'),
        ('["*.x"]', '["{n}.a.x"]'),
        ('["{n}.x"]', "[a.x]"),
    ],
)
def test_a_site_that_takes_a_guard_away_is_worth_a_warning(wide: str, narrow: str) -> None:
    (warning,) = loaded(site("wide", wide, guarded=True), site("narrow", narrow, guarded=False)).warnings
    assert warning.what == (
        f"`{narrow.strip('[]').strip(chr(34))}` has no guard, though the Site `wide` around it has:"
        " Sites do not inherit, so write `guard` here too"
    )
    assert loaded(site("wide", wide, guarded=True), site("narrow", narrow, guarded=True)).warnings == ()
    assert loaded(site("wide", wide, guarded=False), site("narrow", narrow, guarded=True)).warnings == ()


@pytest.mark.parametrize(
    ("guarded", "other"),
    [
        ("[a.x]", '["*"]'),
        ("[a.x]", "[b.x]"),
        ('["*.x"]', "[x]"),
        ('["*.x"]', "[a.y]"),
        ('["{n}.x"]', "[a.b.x]"),
    ],
)
def test_hosts_beside_or_around_a_guard_are_not(guarded: str, other: str) -> None:
    assert loaded(site("s", guarded, guarded=True), site("t", other, guarded=False)).warnings == ()

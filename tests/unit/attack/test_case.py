"""Which wire can carry what."""

from __future__ import annotations

import pytest

from authz.attack.case import Ask, Case, Expect, Fields, Frames, Input, Message, Raw, Seen, Wire


@pytest.mark.parametrize(
    ("given", "wires"),
    [
        (Ask(b"/"), {Wire.HTTP1, Wire.HTTP2, Wire.RAW, Wire.JOINED}),
        (Raw(b""), {Wire.HTTP1}),
        (Fields(()), {Wire.HTTP2}),
        (Message(b""), {Wire.RAW}),
        (Frames(), {Wire.FRAMES}),
    ],
    ids=repr,
)
def test_an_input_travels_where_it_can(given: Input, wires: set[Wire]) -> None:
    case = Case("n", "slashes", (given,), Expect.REFUSED, "why")
    assert {wire for wire in Wire if case.fits(wire)} == wires


def test_a_case_may_be_narrower_than_its_inputs() -> None:
    case = Case("n", "slashes", (Ask(b"/"),), Expect.REFUSED, "why", wires=frozenset({Wire.HTTP2}))
    assert [wire for wire in Wire if case.fits(wire)] == [Wire.HTTP2]


def test_what_was_seen_is_searched_as_one_text() -> None:
    assert Seen(b"/a?k=v", ((b"x", b"y"),), b"GET").everything() == b"GET /a?k=v\nx: y"

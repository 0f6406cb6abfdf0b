"""The steps of one traced check."""

from __future__ import annotations

from itertools import count

from authz.model.trace import Step, Steps

TRACE, SPAN, PARENT = "1" * 32, "2" * 16, "3" * 16


def steps(began_us: int = 1000) -> Steps:
    """Return a span whose clock goes on by 10 us with each look."""
    return Steps(TRACE, SPAN, PARENT, began_us, count(1010, 10).__next__)


def test_steps_have_the_time_since_the_call_was_taken() -> None:
    traced = steps()
    traced.step("read")
    traced.step("judged")
    traced.end(1100, 1234)
    assert traced.taken == [("received", 0), ("read", 10), ("judged", 20), ("decided", 100), ("replied", 234)]


def test_the_steps_of_another_reading_bear_its_name() -> None:
    traced = steps()
    traced.reading("structural_")
    traced.step("judged")
    traced.reading("")
    traced.step("judged")
    assert [step.name for step in traced.taken] == ["received", "structural_judged", "judged"]


def test_a_check_that_is_tried_again_keeps_its_span_and_none_of_its_steps() -> None:
    traced = steps()
    traced.step("read")
    again = traced.again()
    assert (again.trace_id, again.span_id, again.parent_span_id) == (TRACE, SPAN, PARENT)
    assert again.taken == [Step("received", 0)]


def test_what_takes_its_place_is_not_changed_by_whoever_still_has_it() -> None:
    traced = steps()
    traced.step("read")
    taken_over = traced.so_far()
    traced.step("spent")
    assert taken_over.taken == [("received", 0), ("read", 10)]
    assert taken_over.span_id == SPAN

from __future__ import annotations

from typing import Any

import pytest

from authz.injection.tree import TurnedAway, Word
from authz.injection.variables import MAX_VALUE_CHARS, filled, resolve
from tests.support.injection import template

VARIABLES = template().variables


def told(**annotations: Any) -> str:
    named = {f"sidecar.authz/{key.replace('_', '-')}": value for key, value in annotations.items()}
    outcome = resolve(VARIABLES, {"sidecar.authz/hosts": "a.b", **named})
    assert isinstance(outcome, TurnedAway)
    return outcome.why


def test_defaults_stand_where_a_pod_says_nothing_and_choices_are_looked_up() -> None:
    assert resolve(VARIABLES, {"sidecar.authz/hosts": "a.b", "sidecar.authz/policies": "other"}) == {
        "port": "8080",
        "listenPort": "9180",
        "hosts": "a.b",
        "policies": "authz-policies-other",
    }


@pytest.mark.parametrize("annotations", [None, {}, "text", ["a"], 1, {"sidecar.authz/hosts": ""}])
def test_what_has_no_default_must_be_said(annotations: Any) -> None:
    outcome = resolve(VARIABLES, annotations)
    assert outcome == TurnedAway(
        "annotation `sidecar.authz/hosts` is missing, and the template has no default: "
        "write the hosts, with commas"
    )


def test_what_does_not_fit_is_shown_with_what_would() -> None:
    assert told(port="0") == "annotation `sidecar.authz/port` says `0`: write a port, 1 to 65535"
    assert (
        told(policies="Other") == "annotation `sidecar.authz/policies` says `Other`: write the name of a set"
    )


@pytest.mark.parametrize("value", ["80\n", "\n80", " 80", "\u0668\u0660", "80 ", "8" * (MAX_VALUE_CHARS + 1)])
def test_a_pattern_is_matched_from_end_to_end_and_by_ascii(value: str) -> None:
    assert "write a port" in told(port=value)
    assert "\n" not in told(port=value)
    assert len(told(port=value)) < 250


@pytest.mark.parametrize(
    ("value", "shown"),
    [(80, "80"), (True, "true"), (None, "null"), ([], "[...]"), ({}, "{...}"), (Word("080"), "080")],
)
def test_what_is_no_text_is_to_be_quoted(value: Any, shown: str) -> None:
    assert told(port=value) == f"annotation `sidecar.authz/port` is no text: put `{shown}` in quotes"


def test_a_part_is_filled_and_shares_nothing_with_the_template() -> None:
    part: Any = {"a": ["${x}-${y}", "${int:x}", 3, None, True], "${x}": "${y}"}
    made: Any = filled(part, {"x": "7", "y": "${x}"})
    assert made == {"a": ["7-${x}", 7, 3, None, True], "${x}": "${x}"}
    made["a"].append(1)
    assert len(part["a"]) == 5

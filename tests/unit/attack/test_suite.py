"""The table of cases as a whole: complete, repeatable, and able to fail."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from authz.attack.aim import Aim, Place, Spot
from authz.attack.case import Answer, Broken, Case, Expect, Seen, Verdict
from authz.attack.suite import CLASSES, Choice, check_classes, suite
from authz.attack.verdict import judge
from authz.model.errors import ConfigError

AIM = Aim(
    host=b"a.test",
    protected=b"/admin",
    open=b"/public",
    places=(
        Place(Spot.HEADER, b"x-api-key"),
        Place(Spot.COOKIE, b"session"),
        Place(Spot.QUERY, b"api_key"),
    ),
    token=b"good-Key-abc-123",
    dead=(b"dead-Key-abc-123",),
    identity=(b"x-user",),
    limited=b"/limited",
    tokens=3,
)
CASES = list(suite(AIM, Choice(spellings=32, huge=False)))
_ADVISORY = re.compile(r"CVE-(?:19|20)\d\d-\d{4,}|GHSA(?:-[23456789cfghjmpqrvwx]{4}){3}")


def test_every_class_has_cases_and_every_case_a_class() -> None:
    assert {case.group for case in CASES} == set(CLASSES)


def test_names_are_unique_within_their_class() -> None:
    counts = Counter((case.group, case.name) for case in CASES)
    assert [name for name, number in counts.items() if number > 1] == []


def test_every_case_says_why_in_one_sentence() -> None:
    assert [case.name for case in CASES if not case.why or "\n" in case.why or case.why.endswith(".")] == []


def test_an_advisory_is_named_as_its_publisher_names_it() -> None:
    named = {case.advisory for case in CASES if case.advisory}
    assert len(named) > 20
    assert [name for name in named if not _ADVISORY.fullmatch(name)] == []


def test_no_name_shows_a_credential() -> None:
    assert [case.name for case in CASES if "good-Key" in case.name or "dead-Key" in case.name] == []


def test_the_same_seed_makes_the_same_suite() -> None:
    assert list(suite(AIM, Choice(spellings=32))) == CASES
    assert list(suite(AIM, Choice(spellings=32, seed=2))) != CASES


def _let_through(case: Case) -> tuple[Answer, ...]:
    """What a target that lets everything pass, and cleans nothing, would answer."""
    forged = ((b"x-forged", mark) for mark in case.forbidden)
    if case.expect is Expect.AGREED:
        return tuple(Answer(Verdict.ALLOWED, 200 + number) for number, _ in enumerate(case.inputs))
    if case.expect is Expect.ANSWERED:
        return tuple(Answer(Verdict.SILENT) for _ in case.inputs)
    seen = (Seen(AIM.protected, tuple(forged)),)
    return tuple(Answer(Verdict.ALLOWED, 200, seen=seen) for _ in case.inputs)


def test_no_case_holds_where_everything_passes() -> None:
    held = [
        (case.group, case.name)
        for case in CASES
        if not isinstance(judge(case, _let_through(case), AIM), Broken)
    ]
    assert held == []


def test_classes_are_chosen_and_left_out() -> None:
    chosen = suite(AIM, Choice(check_classes(["dots", "frames"]), check_classes(["frames"])))
    assert {case.group for case in chosen} == {"dots"}
    with pytest.raises(ConfigError, match="--class `dot`: there is no such class"):
        check_classes(["dot"])


def test_huge_messages_are_made_only_where_asked_for() -> None:
    huge = suite(AIM, Choice(frozenset({"frames"}), huge=True))
    assert {case.name for case in huge} - {case.name for case in CASES} == {"200 MiB", "1 GiB in 1 MiB"}


def test_a_target_without_key_keeps_the_classes_that_it_cannot_be_tried_with() -> None:
    bare = list(suite(Aim(b"a.test", b"/admin"), Choice(spellings=8)))
    assert {"bent-credentials", "two-credentials"} <= {case.group for case in bare}
    assert [case.name for case in bare if case.group == "bent-credentials"] == ["every case of this class"]

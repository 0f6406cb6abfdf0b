from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.errors import PolicyError
from authz.policy.host import parse_host
from authz.policy.host_map import HostMap
from authz.rehearsal.testing import gate as module
from authz.rehearsal.testing.gate import FAULTS_MAX, Gate, Pacing
from authz.rehearsal.testing.run import Test
from authz.snapshot.build import Built, Surroundings
from authz.snapshot.overrides import OverridesBuilder
from authz.snapshot.parts import PLATFORM, Files
from tests.support.policies import PROVIDER, MadeKey, documents, load
from tests.support.rehearsals import KEY, POLICY, SET, asked, cases

ALL = frozenset((PLATFORM,))
PASSES = f"{asked()}, expect: {{outcome: deny}}"
FAILS = f"{asked()}, expect: {{outcome: allow, status: 200}}"


def built(*texts: str) -> Built:
    return load(*texts, surroundings=Surroundings())


def test_a_set_whose_tests_pass_may_come_into_force() -> None:
    gate = Gate()
    assert gate(built(*SET, cases(PASSES, PASSES)), ALL) == []
    assert gate.asked == 2


def test_a_set_without_tests_may_come_into_force() -> None:
    assert Gate()(built(*SET), ALL) == []


def test_a_failing_case_is_a_fault_at_its_place() -> None:
    (fault,) = Gate()(built(*SET, cases(PASSES, FAILS)), ALL)
    assert str(fault) == (
        "4.yaml:8:7: the test `t/case 1` fails: outcome: expected allow, got deny;"
        " status: expected 200, got 401: mend the rule or the test"
    )


def test_only_what_a_change_can_affect_is_asked_again() -> None:
    gate = Gate()
    other = "kind: Policy\nmetadata: {name: o}\nspec:\n  hosts: [%s]\n  rules: [{name: r, effect: deny}]"
    gate(built(*SET, cases(PASSES)), ALL)
    assert gate(built(*SET, cases(PASSES), other % "other.example.com"), ALL) == []
    assert gate.asked == 0
    assert gate(built(*SET, cases(PASSES), other % "items.example.com"), ALL) == []
    assert gate.asked == 1


def test_what_failed_is_asked_until_it_passes() -> None:
    gate = Gate()
    failing, passing = built(*SET, cases(FAILS)), built(*SET, cases(PASSES))
    assert [len(gate(failing, ALL)), gate.asked, len(gate(failing, ALL)), gate.asked] == [1, 1, 1, 1]
    gate(passing, ALL)
    assert len(gate(failing, ALL)) == 1
    assert [len(gate(passing, ALL)), gate.asked] == [0, 0]


def test_a_change_is_held_to_the_tests_that_are_chosen_for_it() -> None:
    def chosen(one: Built, changed: frozenset[str]) -> Sequence[Test]:
        return [test for test in one.loaded.tests if test.name in changed]

    gate = Gate(chosen)
    one = built(*SET, cases(PASSES, name="a"), cases(FAILS, name="b"))
    assert gate(one, frozenset("a")) == []
    # What was not asked is not taken for passed.
    assert [len(gate(one, frozenset("b"))), gate.asked] == [1, 1]


def test_no_more_faults_are_looked_for_than_anybody_reads() -> None:
    gate = Gate()
    assert len(gate(built(*SET, cases(*[FAILS] * (FAULTS_MAX + 5))), ALL)) == FAULTS_MAX
    assert gate.asked == FAULTS_MAX


def test_it_breathes_before_every_case() -> None:
    breaths: list[None] = []
    Gate(pacing=Pacing(breathe=lambda: breaths.append(None)))(built(*SET, cases(*[PASSES] * 7)), ALL)
    assert len(breaths) == 7


def test_tests_that_take_for_ever_are_a_fault_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = iter(range(100))
    monkeypatch.setattr(module, "WORK_MAX_S", 3.0)
    gate = Gate(pacing=Pacing(worked_s=lambda: float(next(worked))))
    (fault,) = gate(built(*SET, cases(*[PASSES] * 10)), ALL)
    assert gate.asked == 3
    assert str(fault).startswith("4.yaml:10:7: the tests have taken 3 s of the processor, and this one")
    assert gate._passed is None


def test_a_key_that_is_taken_away_is_taken_away_whoever_expects_it_to_be_good() -> None:
    good = f"{asked()}, credential: {{key: partner}}, expect: {{outcome: allow}}"
    revoked = KEY.document.replace("spec:\n", "spec:\n  enabled: false\n", 1)
    assert revoked != KEY.document
    expired = KEY.document.replace("spec:\n", "spec:\n  expiresAt: 2026-01-01T00:00:00Z\n", 1)
    customer = "kind: Customer\nmetadata: {name: acme}\nspec: {enabled: false}"
    for texts in ((revoked,), (expired,), (KEY.document, customer)):
        told: list[PolicyError] = []
        gate = Gate(tell=told.extend)
        assert gate(built(PROVIDER, POLICY, KEY.document, cases(good)), ALL) == []
        assert gate(built(PROVIDER, POLICY, *texts, cases(good)), ALL) == []
        assert [fault.what.partition(" fails")[0] for fault in told] == ["the test `t/case 0`"]
        # Whatever else fails does count.
        assert len(gate(built(PROVIDER, POLICY, *texts, cases(good, FAILS)), ALL)) == 1


def _scoped(one: Built) -> Built:
    owners = {test.file: test.name if test.name != "t" else "" for test in one.loaded.tests}
    return replace(one, scope_of=lambda file: owners.get(file, ""))


def test_tests_of_a_scope_that_take_for_ever_hold_up_that_scope_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SCOPE_WORK_MAX_S", 3.0)
    texts = (*SET, cases(*[PASSES] * 9, name="a"), cases(*[PASSES] * 3, name="b"), cases(PASSES))
    told: list[PolicyError] = []

    def ask(changed: str) -> Sequence[PolicyError]:
        worked = iter(range(100))
        gate = Gate(pacing=Pacing(worked_s=lambda: float(next(worked))), tell=told.extend)
        found = gate(_scoped(built(*texts)), frozenset((changed,)))
        assert gate.asked == 4 + 3 + 1
        assert gate._passed is None
        return found

    (fault,) = ask("scope:a")
    assert fault.what.startswith("the tests of the scope `a` have taken 3 s of the processor")
    assert not told
    assert ask(PLATFORM) == []
    assert [one.what for one in told] == [fault.what]


def test_tests_of_scopes_never_keep_those_of_the_platform_from_being_finished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WORK_MAX_S", 3.0)
    worked = iter(range(100))
    told: list[PolicyError] = []
    gate = Gate(pacing=Pacing(worked_s=lambda: float(next(worked))), tell=told.extend)
    one = _scoped(built(*SET, cases(*[PASSES] * 9, name="a"), cases(PASSES, PASSES, PASSES)))
    # Nor is it the fault of a scope that there is no time left when its turn comes.
    assert gate(one, frozenset((PLATFORM, "scope:a"))) == []
    assert gate.asked == 3
    assert len(told) == 1


def test_neither_a_closed_host_nor_an_override_keeps_a_set_from_changing() -> None:
    closed: HostMap[str] = HostMap()
    closed.add(parse_host("*"), "scope")
    brake = OverridesBuilder().build(
        Files(
            documents(
                "kind: Policy\nmetadata: {name: b}\nspec: {hosts: ['*'], rules: [{name: r, effect: deny}]}"
            )
        )
    )
    reason = cases(f"{asked()}, expect: {{outcome: deny, reason: credential_missing}}")
    one = built(*SET, reason)
    snapshot = replace(one.snapshot, closed=closed, overrides=brake.asked)
    assert Gate()(replace(one, snapshot=snapshot), ALL) == []


HOSTS = ("a.example.com", "b.example.com")
KEYS = {"one": MadeKey("one"), "two": MadeKey("two", scopes="items:write")}
RULES = ("identity: [anyone]", "identity: [partner-keys]", "identity: [partner-keys], methods: [POST]")
TESTS = [
    cases(
        *[
            f"{asked('/', host, f', method: {method}')}{who}, expect: {{outcome: {outcome}}}"
            for method in ("GET", "POST")
            for who in ("", ", credential: {key: one}", ", credential: {key: two}")
            for outcome in ("allow", "deny")
        ],
        name=host[0],
    )
    for host in HOSTS
]


@st.composite
def sets(draw: st.DrawFn) -> tuple[str, ...]:
    """A small set: each policy may be there, with any host and rule; a test may expect anything."""
    texts = [PROVIDER, *(key.document for key in KEYS.values())]
    for name in "pq":
        host, rule = draw(st.sampled_from((*HOSTS, "'*.example.com'", "'*'"))), draw(st.sampled_from(RULES))
        when = draw(st.sampled_from(("", ", when: '\"items:read\" in identity.scopes'")))
        if draw(st.booleans()):
            texts.append(
                f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{host}]\n"
                f"  rules: [{{name: r, effect: allow, {rule}{when}}}]"
            )
    if draw(st.booleans()):
        texts.append("kind: Customer\nmetadata: {name: acme}\nspec: {enabled: false}")
    return tuple(texts)


@given(st.lists(sets(), min_size=2, max_size=3))
@settings(max_examples=60, deadline=None)
def test_a_gate_that_remembers_finds_what_one_that_forgets_finds(changes: list[tuple[str, ...]]) -> None:
    passing = _passing(changes[0])
    gate = Gate()
    assert gate(built(*changes[0], *passing), ALL) == []
    for texts in changes[1:]:
        one = built(*texts, *passing)
        assert list(map(str, gate(one, ALL))) == list(map(str, Gate()(one, ALL)))


def _passing(texts: tuple[str, ...]) -> list[str]:
    """Keep the cases that pass in a set."""
    kept = []
    one = built(*texts, *TESTS)
    failing = {(fault.place.file, fault.place.line) for fault in _all_faults(one)}
    for test, text in zip(one.loaded.tests, TESTS, strict=True):
        rows = text.splitlines()
        places = [test.place("spec", "cases", position) for position in range(len(test.spec.cases))]
        keep = {place.line for place in places if (place.file, place.line) not in failing}
        # The text has one line less than the file, whose first one is `apiVersion`.
        kept.append(
            "\n".join(row for number, row in enumerate(rows, 2) if "- {" not in row or number in keep)
        )
    return kept


def _all_faults(one: Built) -> list[PolicyError]:
    return list(Gate()(one, ALL))

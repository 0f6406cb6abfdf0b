from __future__ import annotations

from structlog.testing import capture_logs

from authz.config.rooms import SnapshotSettings
from authz.snapshot.assembly import no_gate
from authz.snapshot.build import Built, Surroundings
from authz.wiring.trials import trials
from tests.support.policies import load
from tests.support.rehearsals import SET, asked, cases

CHANGED = frozenset(("platform",))


def failing() -> Built:
    return load(*SET, cases(f"{asked()}, expect: {{outcome: allow}}"), surroundings=Surroundings())


def test_failing_tests_reject_a_set_unless_the_operator_says_otherwise() -> None:
    breaths: list[None] = []
    (fault,) = trials(SnapshotSettings(), lambda: breaths.append(None))(failing(), CHANGED)
    assert "the test `t/case 0` fails" in str(fault)
    assert breaths == [None]


def test_failing_tests_can_be_told_of_alone() -> None:
    built = failing()
    with capture_logs() as logs:
        assert trials(SnapshotSettings(policy_tests="warn"), lambda: None)(built, CHANGED) == ()
    (told,) = logs
    assert told["log_level"] == "warning"
    assert told["revision"] == built.loaded.revision
    assert told["count"] == 1
    assert "the test `t/case 0` fails" in told["faults"][0]


def test_a_set_whose_tests_pass_is_not_told_of() -> None:
    built = load(*SET, cases(f"{asked()}, expect: {{outcome: deny}}"), surroundings=Surroundings())
    with capture_logs() as logs:
        assert trials(SnapshotSettings(policy_tests="warn"), lambda: None)(built, CHANGED) == ()
    assert logs == []


def test_tests_can_be_left_alone() -> None:
    assert trials(SnapshotSettings(policy_tests="off"), lambda: None) is no_gate

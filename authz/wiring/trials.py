"""What a changed set must pass before it comes into force: its PolicyTests, as the operator has set it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from authz.config.log import get_logger
from authz.config.rooms import SnapshotSettings
from authz.model.errors import PolicyError
from authz.rehearsal.testing.gate import Gate as TestGate
from authz.rehearsal.testing.gate import Pacing
from authz.snapshot.assembly import concerned, no_gate
from authz.snapshot.build import Built
from authz.snapshot.trial import Gate

_TOLD_MAX = 20

_log = get_logger("wiring")


def trials(settings: SnapshotSettings, breathe: Callable[[], None]) -> Gate:
    """Return what a changed set is held to.

    Args:
        breathe: called before each case, so that others may use the interpreter.
    """
    match settings.policy_tests:
        case "gate":
            return TestGate(concerned, Pacing(breathe), _let_pass)
        case "warn":
            return _Warning(TestGate(concerned, Pacing(breathe), _let_pass))
        case "off":
            return no_gate


def _let_pass(faults: Sequence[PolicyError]) -> None:
    _log.warning(
        "policy tests fail, and hold nothing up: their key was taken away, or their scope's took too long",
        faults=[str(fault) for fault in faults[:_TOLD_MAX]],
        count=len(faults),
        mend="change these tests; `authz policy test` shows them",
    )


class _Warning:
    """Tells of failing tests, and lets every set pass."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, built: Built, changed: frozenset[str]) -> Sequence[PolicyError]:
        faults = self._gate(built, changed)
        if faults:
            _log.warning(
                "policy tests fail, and the set comes into force: `policy_tests` is `warn`",
                revision=built.loaded.revision,
                faults=[str(fault) for fault in faults[:_TOLD_MAX]],
                count=len(faults),
                mend="run `authz policy test` on the same directories",
            )
        return ()

"""Every exception that crosses a room's door.

    AuthzError
      ConfigError            a setting, flag, socket or pepper that cannot be used
      PolicyError            one fault in one document, with its place
      SnapshotRejected       a whole policy set, with every PolicyError in it
      StateUnusable          the private state directory, or what is kept in it
      StoreUnavailable       the place where buckets live does not answer
      NotStarted             a process that the demo or a test needs does not come up

No library's exception leaves the room that uses the library.
"""

from __future__ import annotations

from dataclasses import dataclass


class AuthzError(Exception):
    """Base of everything that this program raises on purpose."""


class ConfigError(AuthzError):
    """Something that the operator set cannot be used. One line: where, what, what to do."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class PolicyError(AuthzError):
    """One fault in one document.

    Args:
        place: where the fault stands.
        what: what is wrong and how to mend it; lower case, one line, the user's words in backticks.
        newer: a newer version of this program may well read it: the document is not wrong, we are old.
        code: of a warning, its stable name; see `policy/lint/lint.py`.
    """

    def __init__(self, place: Place, what: str, *, newer: bool = False, code: str = "") -> None:
        super().__init__(f"{place}: {what}")
        self.place = place
        self.what = what
        self.newer = newer
        self.code = code


class SnapshotRejected(AuthzError):
    """A policy set that cannot be served. Carries every fault, sorted by place; never empty."""

    def __init__(self, faults: list[PolicyError]) -> None:
        if not faults:
            raise ValueError("a rejection needs a fault")
        self.faults = sorted(faults, key=lambda fault: (fault.place, fault.what))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class StateUnusable(AuthzError):
    """Nothing can be kept in the state directory, or read from it. One line: where, what, what to do."""


class StoreUnavailable(AuthzError):
    """The limit store did not answer in time or at all."""


class NotStarted(AuthzError):
    """A process that the demo or a test needs does not come up.

    Args:
        what: one line: which process, and what to do.
        tail: the last lines of its log; "" where it wrote none.
    """

    def __init__(self, what: str, tail: str = "") -> None:
        super().__init__(what)
        self.tail = tail

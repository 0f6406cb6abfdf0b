"""What was rejected, on the log: each distinct problem once, and once that it is over."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from authz.config.log import get_logger
from authz.model.errors import PolicyError
from authz.policy.newer import need_newer
from authz.snapshot.parts import OVERRIDES, Faults, scope_of_part

_SHOWN = 20  # faults in one line
_UPGRADE = "upgrade this sidecar first"
_TEST = "run `authz policy test` on the same directories, with the same --scopes"  # says what is invalid, too
_CLUSTERED = (
    "run `authz policy validate --clustered`, then `authz policy test`, on the same directories, with the"
    " same --scopes"
)
_VALIDATE = "run `authz policy validate` on the same directories, with the same --overrides"

_log = get_logger("wiring")


class Rejections:
    """Remembers which part of the set is refused, and why.

    Args:
        clustered: a set must fit on a Redis Cluster, which no command knows unless it is told.
    """

    def __init__(self, *, clustered: bool = False) -> None:
        self._shown_by = _CLUSTERED if clustered else _TEST
        self._said: dict[str, str] = {}  # part -> problem
        self.newer = False  # whether a newer version of this program may well take it

    @property
    def standing(self) -> bool:
        """Whether what stands in the directories is not in force, wholly or in part."""
        return bool(self._said)

    @property
    def parts(self) -> frozenset[str]:
        """The parts that are refused."""
        return frozenset(self._said)

    @property
    def concern_all(self) -> bool:
        """Whether a part is refused that every host depends on: any but that of a scope.

        SECURITY: else a team that leaves its part broken could have everybody's set called stale.
        """
        return any(not scope_of_part(part) for part in self._said)

    def tell(self, rejected: Faults, active: Container[str] = ()) -> str:
        """Take what is refused now, log what is new of it, and return it in one line.

        Args:
            active: the parts of which something is in force.
        """
        problems = {part: _problem(rejected[part]) for part in sorted(rejected)}
        for part, problem in problems.items():
            if self._said.get(part) == problem:
                continue
            faults = rejected[part]
            newer = need_newer(faults)
            _log.error(
                "policy set rejected: it needs a newer authz" if newer else "policy set rejected",
                part=part,
                faults=[str(fault) for fault in _sorted(faults)[:_SHOWN]],
                count=len(faults),
                meanwhile=_meanwhile(part, active),
                mend=_UPGRADE if newer else _VALIDATE if part == OVERRIDES else self._shown_by,
            )
        self._over(self._said.keys() - problems.keys())
        self._said = problems
        self.newer = any(map(need_newer, rejected.values()))
        return self.problem

    @property
    def problem(self) -> str:
        """What is refused, in one line: the first part's fault, and which others are; "" where nothing is."""
        if not self._said:
            return ""
        first, *others = self._said
        more = f"; refused, too: {', '.join(others[:_SHOWN])}" if others else ""
        return self._said[first] + more

    def ended(self) -> None:
        """Note that nothing is refused any more."""
        self._over(self._said.keys())
        self._said, self.newer = {}, False

    def _over(self, parts: Iterable[str]) -> None:
        for part in sorted(parts):
            _log.info("policy set is good again", part=part)


def _meanwhile(part: str, active: Container[str]) -> str:
    """Say what is served while a part is refused: the first that somebody who is woken must know."""
    if part in active:
        return "what was last good stays in force"
    whose = "its hosts get" if scope_of_part(part) else "every check gets"
    return f"{whose} 503 not_ready, since it was never good"


def _sorted(faults: Sequence[PolicyError]) -> list[PolicyError]:
    """Put first what says that nothing is wrong but our age: it mends the rest, too, perhaps."""
    return sorted(faults, key=lambda fault: not fault.newer)


def _problem(faults: Sequence[PolicyError]) -> str:
    return str(_sorted(faults)[0]) + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")

"""What was rejected, on the log: each distinct problem once, and once that it is over."""

from __future__ import annotations

from collections.abc import Iterable

from authz.config.log import get_logger
from authz.snapshot.parts import Faults

_SHOWN = 20  # faults in one line

_log = get_logger("wiring")


class Rejections:
    """Remembers which part of the set is refused, and why."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}  # part -> problem

    @property
    def standing(self) -> bool:
        """Whether what stands in the directories is not in force, wholly or in part."""
        return bool(self._said)

    def tell(self, rejected: Faults) -> str:
        """Take what is refused now, log what is new of it, and return it in one line."""
        problems = {part: _problem(rejected[part]) for part in sorted(rejected)}
        for part, problem in problems.items():
            if self._said.get(part) == problem:
                continue
            faults = rejected[part]
            _log.error(
                "policy set rejected",
                part=part,
                faults=[str(fault) for fault in faults[:_SHOWN]],
                count=len(faults),
                mend="run `authz policy validate` on the same directories",
            )
        self._over(self._said.keys() - problems.keys())
        self._said = problems
        return next(iter(problems.values()), "")

    def ended(self) -> None:
        """Note that nothing is refused any more."""
        self._over(self._said.keys())
        self._said = {}

    def _over(self, parts: Iterable[str]) -> None:
        for part in sorted(parts):
            _log.info("policy set is good again", part=part)


def _problem(faults: tuple[Exception, ...]) -> str:
    return str(faults[0]) + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")

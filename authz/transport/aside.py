"""After the replies: what documents in shadow would have said, for records and metrics.

INVARIANT: nothing here changes a reply, since it has left; and whatever breaks here, each answered check is
kept, once, with what is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from authz.check import Check, review
from authz.limits.store import Limiter, answers_later
from authz.model.decision import Answered
from authz.model.shadow import CRASHED, Review, Shade, Trial
from authz.snapshot.snapshot import Snapshot

Keep = Callable[[Sequence[Answered], Snapshot], None]
Tell = Callable[[BaseException], None]


class Aside:
    """Asks documents in shadow, on the judging thread or on that of the limiter, and never waits.

    Args:
        keep: takes answered checks; raises nothing.
        tell: told of each crash; raises nothing.
    """

    __slots__ = ("_keep", "_later", "_limiter", "_tell")

    def __init__(self, limiter: Limiter, keep: Keep, tell: Tell) -> None:
        self._limiter = limiter
        self._later = answers_later(limiter)  # else what it has not handed on is forgotten
        self._keep = keep
        self._tell = tell

    def ask(self, checks: Sequence[Check], answered: Sequence[Answered], snapshot: Snapshot) -> None:
        """Ask about checks whose replies have left, then keep them.

        Args:
            answered: of the same checks in the same order; fewer, where answering broke in the middle.
        """
        reviews = [self._review(check, snapshot) for check in checks[: len(answered)]]
        trials = list(chain.from_iterable(one.trials.values() for one in reviews if isinstance(one, Review)))
        pending = [answered]  # taken by whoever keeps it

        def keep(_: Sequence[Trial]) -> None:
            if pending:
                self._keep(list(map(self._shaded, pending.pop(), reviews)), snapshot)

        if not (trials and self._draw(trials, keep) and self._later):
            keep(trials)

    def _draw(self, trials: Sequence[Trial], then: Callable[[Sequence[Trial]], None]) -> bool:
        """Draw from buckets in shadow; return whether that is in good hands."""
        try:
            self._limiter.spend_in_shadow(trials, then)
        except BaseException as error:  # noqa: BLE001 - the reply stands; the record says that this broke
            self._tell(error)
            return False
        return True

    def _review(self, check: Check, snapshot: Snapshot) -> Review | BaseException | None:
        try:
            return review(check, snapshot)
        except BaseException as error:  # noqa: BLE001 - as above
            self._tell(error)
            return error

    def _shaded(self, answered: Answered, found: Review | BaseException | None) -> Answered:
        if found is None:
            return answered
        shades: tuple[Shade, ...] = CRASHED
        if isinstance(found, Review):
            try:
                shades = found.settled()
            except BaseException as error:  # noqa: BLE001 - as above
                self._tell(error)
        return answered._replace(shadow=shades)

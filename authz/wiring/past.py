"""What earlier lives kept of the set, and what this one keeps for the next.

A restart must not make a broken set worse: where what stands in the directories cannot be in force at first,
what was last good is, part by part, until something better stands there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from authz.config.log import get_logger
from authz.config.rooms import SnapshotSettings
from authz.model.errors import StateUnusable
from authz.snapshot.parts import Faults, Parts
from authz.snapshot.sources import Directories
from authz.snapshot.state import Former, State, identity_of
from authz.wiring.clock import SystemClock
from authz.wiring.keeping import Keeping

_log = get_logger("wiring")


class Past:
    """Remembers over a restart what was in force.

    Args:
        keeps: whether this process writes; of several workers one does.
    """

    def __init__(self, state: State, clock: SystemClock, *, keeps: bool = True) -> None:
        self._state = state
        self._clock = clock
        self._keeping = Keeping(state) if keeps else None
        self._former: Former | None = None
        self._begun = self._over = False
        self.resumed: frozenset[str] = frozenset()  # parts that are in force as an earlier life kept them

    @property
    def results(self) -> Mapping[str, int]:
        """How often the set was kept, or could not be."""
        return dict(self._keeping.results) if self._keeping else {}

    def start(self) -> None:
        """Begin to keep."""
        if self._keeping:
            self._keeping.start()

    def close(self) -> None:
        """Keep no more."""
        if self._keeping:
            self._keeping.close()

    def recall(self) -> None:
        """Look once what an earlier life kept; say why it is not used where it cannot be."""
        if self._begun:
            return
        self._begun = True
        try:
            self._former = self._state.load(self._clock.wall_us())
        except StateUnusable as error:
            self.refuse(str(error))

    def was_active(self, revision: str) -> bool:
        """Whether the set of a first load was in force in an earlier life: its tests need not pass again."""
        return not self._over and self._state.was_active(revision)

    def take(self) -> Former | None:
        """Return what an earlier life kept, once, and only for the first load."""
        former, self._former = self._former, None
        return None if self._over else former

    def over(self) -> None:
        """Note that the first load is over: what is in force now is better than anything that was kept."""
        self._over, self._former = True, None

    def refuse(self, why: str) -> None:
        """Say why what was kept is not used."""
        _log.warning("the kept policy set is not used", why=why)

    def resume(self, former: Former, rejected: Faults, problem: str) -> None:
        """Note, and say, which parts are in force as they were kept, if any still is."""
        self.resumed = frozenset(former.parts) & frozenset(rejected)
        if not self.resumed:
            return
        _log.warning(
            "started from the last good policy set",
            revision=former.revision,
            parts=sorted(self.resumed),
            last_known=datetime.fromtimestamp(former.known_us // 1_000_000, UTC).isoformat(),
            why=problem,
            mend="mend what stands in the directories: it is in force as soon as it is good",
        )

    def note(self, revision: str, parts: Parts, rejected: Faults, age_us: int) -> None:
        """Have what is in force kept.

        Args:
            rejected: parts that stand otherwise in the directories.
            age_us: since when they do.
        """
        self.resumed &= frozenset(rejected)
        if self._keeping:
            self._keeping.note(revision, parts, self._clock.wall_us() - age_us)


def past(settings: SnapshotSettings, named: Directories, clock: SystemClock, *, keeps: bool = True) -> Past:
    """Return what is known of earlier lives of the set in these directories."""
    return Past(State(settings.state, identity_of(*named)), clock, keeps=keeps)

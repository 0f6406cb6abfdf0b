"""The set that checks are judged by, and what becomes of it while the directories are broken.

The loader puts a set in force and says after each look whether it is what stands in the directories. Another
thread ticks: the one that loads may hang on a broken disk, and a bound on staleness must hold then, too.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from authz.config.log import get_logger
from authz.config.rooms import SnapshotSettings
from authz.snapshot.snapshot import Snapshot
from authz.snapshot.staleness import Staleness
from authz.transport.shield import Clock

_LOOKS = 3  # that may be missed before what is in force counts as unknown
_SLACK_US = 10_000_000  # and for how long one may take: loading the largest set on a busy machine

_log = get_logger("wiring")


class InForce:
    """The snapshot in force.

    Args:
        refusing: makes a snapshot that refuses everything, for a reason.
    """

    def __init__(self, settings: SnapshotSettings, clock: Clock, refusing: Callable[[str], Snapshot]) -> None:
        self._settings = settings
        self._clock = clock
        self._refusing = refusing
        patience_us = _LOOKS * settings.poll_s * 1_000_000 + _SLACK_US
        self._staleness = Staleness(settings.max_staleness_s * 1_000_000, patience_us)
        self._lock = Lock()  # between those who replace; whoever judges only reads
        self._good: Snapshot | None = None
        self._why = ""  # what is wrong with what stands in the directories
        self._stale = False
        self.snapshot = refusing("no policy set is loaded yet")

    def current(self) -> Snapshot:
        """Return the snapshot that checks are judged by now."""
        return self.snapshot

    @property
    def revision(self) -> str:
        """The revision of the last good set, whether checks are judged by it or not; "" before the first."""
        good = self._good
        return good.revision if good is not None else ""

    def age_us(self) -> int:
        """Return for how long the set in force has not been what stands in the directories."""
        return self._staleness.age_us(self._clock.ticks_us())

    def put(self, snapshot: Snapshot) -> None:
        """Put a good set in force."""
        with self._lock:
            self._good = snapshot
            changed = self._weigh()
            self.snapshot = self._refusing(self._problem()) if self._denies else snapshot
        if changed:
            self._tell(stale=self._stale)

    def agree(self) -> None:
        """Note that what is in force is what stands in the directories."""
        self._staleness.agree(self._clock.ticks_us())
        self._why = ""
        self.tick()

    def differ(self, why: str, for_us: int | None = None) -> None:
        """Note that it is not, and why.

        Args:
            for_us: for how long, where what is put in force next comes from an earlier life.
        """
        self._why = why
        if self._good is None:
            if for_us is not None:
                self._staleness.differ(self._clock.ticks_us() - for_us)
            with self._lock:
                self.snapshot = self._refusing(why)
            return
        self._staleness.differ(self._clock.ticks_us() - (for_us or 0))
        self.tick()

    def tick(self) -> None:
        """Draw the consequences of time; any thread may, and one must now and then."""
        with self._lock:
            if self._good is None or not self._weigh():
                return
            self.snapshot = self._refusing(self._problem()) if self._denies else self._good
        self._tell(stale=self._stale)

    def _weigh(self) -> bool:
        """Work out whether what is in force is stale; return whether that is news."""
        before, self._stale = self._stale, self._staleness.stale(self._clock.ticks_us())
        return before != self._stale

    @property
    def stale(self) -> bool:
        """Whether the set in force has been another one than it should be for longer than it may be."""
        return self._stale

    @property
    def ailment(self) -> str:
        """Why checks should not come here, or are not judged; "" where they should and are."""
        if self._stale and self._settings.when_stale != "serve":
            return self._problem()
        return self.snapshot.problem

    @property
    def _denies(self) -> bool:
        return self._stale and self._settings.when_stale == "deny"

    def _problem(self) -> str:
        bound_s = self._settings.max_staleness_s
        return f"the policy set is stale, for more than max_staleness_s ({bound_s}): {self._why or _UNSEEN}"

    def _tell(self, *, stale: bool) -> None:
        if stale:
            _log.error(
                "the policy set is stale",
                revision=self.revision,
                max_staleness_s=self._settings.max_staleness_s,
                when_stale=self._settings.when_stale,
                why=self._why or _UNSEEN,
                mend="mend what stands in the directories; `authz policy validate` says what is wrong",
            )
        else:
            _log.info("the policy set is what stands in the directories again")


_UNSEEN = "the directories could not be looked at for so long"

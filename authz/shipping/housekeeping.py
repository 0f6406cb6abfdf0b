"""The one thread that looks at the spool for all sinks: what is new, what can go, what must be given up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

import msgspec

from authz.config.log import get_logger
from authz.shipping.carrier import Carrier
from authz.shipping.positions import Position, Positions
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from authz.shipping.thinning import Thinner

ROUND_S, IDLE_ROUND_S = 0.025, 0.05  # between looks: while something comes, and after two seconds of nothing
_IDLE_S = 2.0
_LOOK_S = 0.25  # between looks at who still writes

_log = get_logger("shipping")


class Housekeeper:
    """Looks after a spool.

    Args:
        thinner: None: nothing is ever given up here.
        grace_s: what waited for this start may be wanted at once: for so long nothing is given up, unless
            writers are about to be held up.
    """

    def __init__(
        self,
        spool: Spool,
        thinner: Thinner | None,
        clock: Callable[[], float] = time.monotonic,
        grace_s: float = 0.0,
    ) -> None:
        self.carriers: Sequence[Carrier] = ()
        self.rounds = 0
        self._spool = spool
        self._thinner = thinner
        self._clock = clock
        self._grace_end_s = clock() + grace_s
        self._wake = Event()
        self._stopping = False
        self._passed: deque[str] = deque()
        self._strangers: list[Path] = []
        self._known: dict[str, int] = {}  # by stream: how far any sink ever was, in files of before
        self._settled = self._complained = False
        self._look_s = self._busy_s = 0.0
        self._thread = Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def passed(self, stream: str) -> None:
        """Hear that a sink has more of a stream. Any thread may tell."""
        self._passed.append(stream)
        self._wake.set()

    def look_now(self) -> None:
        """Look at everything in the next round."""
        self._look_s = 0.0
        self._wake.set()

    def round(self) -> None:
        """Look once."""
        now_s = self._clock()
        if looks := now_s >= self._look_s:
            self._look_s = now_s + _LOOK_S
        found = self._spool.find(self._welcome) if looks or not self._spool.whole else False
        news = self._spool.look() if looks else self._spool.measure()
        if found or news:
            self._busy_s = now_s
            for carrier in self.carriers:
                carrier.more.set()
            # Of a segment that was begun because the disk is full nobody ever delivers anything, until the
            # one before it, which everybody has, is gone.
            streams = list(self._spool.streams.values())
            self._passed.extend(stream.name for stream in streams if stream.alive and len(stream.sizes) > 1)
        self._release()
        if self._thinner is not None and (now_s >= self._grace_end_s or self._thinner.presses(self._spool)):
            self._thinner.thin(self._spool, self.carriers)
        if not self._settled and self._spool.whole:
            self._settle()
        self.rounds += 1

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self.round()
            except OSError as error:  # what the disk refuses now it may do later
                self._complain(error)
            idle = self._clock() - self._busy_s > _IDLE_S
            self._wake.wait(0.0 if not self._spool.whole else IDLE_ROUND_S if idle else ROUND_S)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _log.error("the spool cannot be looked after", cause=error.strerror)
        self._wake.wait(_LOOK_S)

    def _release(self) -> None:
        """Delete what every sink has."""
        names = set()
        while self._passed:
            names.add(self._passed.popleft())
        for name in names:
            stream = self._spool.streams.get(name)
            if stream is not None:
                self._release_stream(stream)

    def _release_stream(self, stream: Stream) -> None:
        saved = [carrier.positions.saved.get(stream.name) for carrier in self.carriers]
        positions = [position for position in saved if position is not None]
        if len(positions) < len(saved):
            return
        if all(position.end for position in positions):
            self._bury(stream)
            return
        done = min(position.done for position in positions)
        for seq, later in pairwise(sorted(stream.sizes)):
            if later <= done + 1:
                stream.drop(seq)

    def _bury(self, stream: Stream) -> None:
        """Take a stream away that is over for every sink."""
        revived = stream.revived
        if not revived and not stream.remove():
            return
        self._spool.forget(stream.name)  # one that is revived is found like a new one
        for carrier in self.carriers:
            position = carrier.positions.get(stream.name)
            if revived and position is not None:
                carrier.positions.set(stream.name, msgspec.structs.replace(position, end=False))
            else:
                carrier.positions.forget([stream.name])

    def _welcome(self, stream: Stream) -> None:
        """Let sinks that never heard of a stream begin where it begins now, if others had what is gone."""
        first_seq = min(stream.sizes, default=1)
        for carrier in self.carriers:
            self._check(carrier.positions, stream, first_seq)
        if first_seq <= 1 or not self.carriers:
            return
        positions = [carrier.positions for carrier in self.carriers]
        dones = [position.done for one in positions if (position := one.get(stream.name))]
        if max([*dones, self._known.get(stream.name, 0)]) < first_seq - 1:
            return  # nobody had it: that is a gap
        for one in positions:
            if one.get(stream.name) is None:
                one.set(stream.name, Position(first_seq - 1))

    def _check(self, positions: Positions, stream: Stream, first_seq: int) -> None:
        """Believe no position beyond all that there ever was: what it passes over would go unseen."""
        position, most_seq = positions.get(stream.name), stream.most_seq()
        if position is None or most_seq is None:
            return
        if position.done < 0 or position.done > most_seq:
            _log.error(
                "a position claims more than there was: what is there is shipped again", stream=stream.name
            )
            positions.distrust(stream.name, Position(first_seq - 1))

    def remember(self, ours: Sequence[Path]) -> None:
        """Read the positions of sinks that there are no more, before anything else."""
        try:
            found = sorted(self._spool.positions.iterdir())
        except OSError:
            return
        for path in found:
            if path in ours or path.name.startswith("."):
                continue
            theirs = Positions(path)
            if theirs.genuine:  # SECURITY: another file is somebody's, and none that we may take away
                self._strangers.append(path)
            for name, position in theirs.saved.items():
                self._known[name] = max(self._known.get(name, 0), position.done)

    def _settle(self) -> None:
        """Once every stream was looked at: forget what is no more, and sinks that are none."""
        self._settled = True
        self._passed.extend(self._spool.streams)  # one of us was killed before it took away what was passed
        for carrier in self.carriers:
            carrier.positions.keep_only(frozenset(self._spool.streams))
        # A sink that comes back later begins with what is there then.
        kept = [carrier.positions.save() for carrier in self.carriers]
        if all(kept):
            for path in self._strangers:
                path.unlink(missing_ok=True)

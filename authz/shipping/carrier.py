"""One sink's own thread: takes from the streams what the sink has not, delivers it, and notes how far it is.

Nothing of it is shared with another sink: one that is down holds up nobody. INVARIANT: a position moves only
after the sink took what lies before it, and is kept before anything that it passed is deleted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event, Thread

from authz.config.log import get_logger
from authz.record.notice import Why
from authz.shipping.delivery import Refused, Sink, Unavailable
from authz.shipping.parcel import ChainAt, Parcel
from authz.shipping.positions import Position, Positions
from authz.shipping.reader import Reader, Taken
from authz.shipping.route import Route
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from authz.shipping.tally import SinkTally

RETRY_MIN_S, RETRY_MAX_S, RETRY_ASKED_MAX_S = 0.1, 30.0, 60.0
RETRY_DRAINING_S = 0.5  # nobody waits half a minute for the end
SAVE_S = 0.5  # between positions that are kept
# Records that may have arrived without that being kept: after a kill they come twice, and until they have
# come they are not given up. 7 MB; at 100,000 records/s it makes 12 writes of a small file a second.
UNSAVED_MAX = 8192
_IDLE_S = 1.0  # at the latest everything is looked at again
_COMPANY_S = 0.1  # a batch that is much smaller than it may be waits so long for the next
_SMALL = 4  # one part in so many
_WHY_MAX = 300
_EVERYTHING = 1 << 63
NO_TIP = "-"  # a chain was begun, and with nothing before it

_log = get_logger("shipping")

MakeChain = Callable[[Stream, str], ChainAt]  # of a stream, begun with the tip of the one before it


class Carrier:
    """Delivers to one sink.

    Args:
        passed: called with a stream of which more may be deleted now.
        make_chain: None: lines go as they are.
    """

    def __init__(
        self,
        sink: Sink,
        positions: Positions,
        spool: Spool,
        passed: Callable[[str], None],
        make_chain: MakeChain | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sink = sink
        self.positions = positions
        self.tally = SinkTally(sink.name)
        self._spool = spool
        self._passed = passed
        self._make_chain = make_chain
        self._clock = clock
        self._route = Route(spool, positions)
        self.more = Event()  # something was written, or shall end
        self.idle = False  # the last look at every stream found nothing
        self.draining = False
        self._stopped, self._hurry = Event(), Event()
        self._offered: dict[str, int] = {}  # by stream: up to where it may have arrived
        self._unsaved = 0
        self._touched: set[str] = set()
        self._saved_s = clock()
        self._failures = self._given_up = 0
        self._thread = Thread(target=self._run, name=f"carrier {sink.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask for the end: what is being delivered is finished, or given up for this life."""
        self._stopped.set()
        self._hurry.set()
        self.more.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def drain(self) -> None:
        """From now on nothing waits for company, and no retry for long."""
        self.draining = True
        self._hurry.set()
        self.more.set()

    def uncertain(self, stream: str) -> tuple[int, int]:
        """Return between which seqs, the first left out, records may have arrived that no position covers."""
        saved, loaded = self.positions.saved.get(stream), self.positions.loaded.get(stream)
        done = saved.done if saved else 0
        most = loaded.done + UNSAVED_MAX if loaded and not loaded.end else 0
        return done, max(done, most, self._offered.get(stream, 0))

    def has_all(self, stream: Stream) -> bool:
        """Whether this stream is over, and everything of it has arrived."""
        position = self.positions.get(stream.name)
        return position is not None and position.end

    def waiting_bytes(self) -> int:
        """Return how much the sink has yet to get: what waits in segments, and what is being delivered."""
        streams = list(self._spool.streams.values())
        return self.tally.carrying + sum(self._route.waiting_bytes(stream) for stream in streams)

    def save(self) -> None:
        """Keep the positions."""
        touched, self._touched = self._touched, set()
        self._saved_s, self._unsaved = self._clock(), 0
        self.positions.save()
        for stream in touched:
            self._passed(stream)

    def ship_one(self) -> bool:
        """Deliver one batch; whether there was one."""
        for stream, reader in self._route.next():
            place = reader.place[0]
            taken = self._take(stream, reader)
            if taken is not None:
                self._carry(stream, reader, taken)
                self._keep(passed=reader.place[0] != place or taken.ends)
                self._wait_for_company(len(taken.lines))
                return True
        return False

    def _take(self, stream: Stream, reader: Reader) -> Taken | None:
        """Take what comes next. INVARIANT: from before it is read until it was kept, nobody replaces it."""
        self._offered[stream.name] = _EVERYTHING
        before = reader.taken_seq
        taken = reader.take(self.sink.batch_bytes)
        self._offered[stream.name] = taken.last_seq if taken else before
        return taken

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.more.clear()  # first: what comes from here on is looked at again
            self.idle = not self.ship_one()
            if self.idle:
                self._keep(passed=False)
                self.more.wait(_IDLE_S if not self._touched else SAVE_S)

    def _wait_for_company(self, size: int) -> None:
        if size * _SMALL < self.sink.batch_bytes and not self.draining and not self._stopped.is_set():
            self._pause(_COMPANY_S)

    def _carry(self, stream: Stream, reader: Reader, taken: Taken) -> None:
        """Deliver what was taken, however long that takes."""
        position = self._begun(stream, taken)
        chain_at = self._make_chain(stream, position.after) if self._make_chain else None
        parcel = Parcel(stream, taken, self.sink.batch_bytes, chain_at, position.chain)
        self.tally.oldest_us, self.tally.carrying = taken.oldest_us, len(taken.lines)
        while not parcel.done:
            if self._stopped.is_set():
                return
            if not self._offer(parcel):
                self._route.let_go()  # what is replaced while the sink is away is read as it is then
        self.tally.oldest_us = self.tally.carrying = 0
        self.positions.set(stream.name, Position(taken.last_seq, parcel.state, position.after, taken.ends))
        if taken.ends:
            if parcel.tip:
                self.positions.tips[stream.sidecar] = parcel.tip
            self._offered.pop(stream.name, None)
            self._route.leave(stream)
        self._touched.add(stream.name)
        self._unsaved += taken.last_seq - taken.first_seq + 1

    def _begun(self, stream: Stream, taken: Taken) -> Position:
        """Return how far the sink was, and see that enough of it is kept before more may arrive."""
        position = self.positions.get(stream.name)
        span = taken.last_seq - taken.first_seq + 1
        if position is None or (self._make_chain and not position.after):
            for name in self._route.upcoming(stream):
                self.positions.set(name, self.positions.get(name) or Position())
            after = self.positions.tips.get(stream.sidecar, NO_TIP) if self._make_chain else ""
            done = position.done if position else 0
            position = Position(done, after=after)
            self.positions.set(stream.name, position)
            self.save()
        elif self._unsaved and self._unsaved + span > UNSAVED_MAX:
            self.save()
        return position

    def _keep(self, *, passed: bool) -> None:
        due = self._clock() - self._saved_s >= SAVE_S
        if self._touched and (passed or due):
            self.save()

    def _offer(self, parcel: Parcel) -> bool:
        """Offer a piece; False where the sink is away, after a while."""
        try:
            self.sink.deliver(parcel.piece())
        except Unavailable as error:
            self._down(str(error), error.retry_s)
            return False
        except Refused as error:
            return self._refused(parcel, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one sink must not end the others
            _log.exception("a sink failed in a way that it should not", sink=self.sink.name)
            self._down(f"failed: {type(error).__name__}", 0.0)
            return False
        self._accepted(parcel)
        return True

    def _accepted(self, parcel: Parcel) -> None:
        replaced = parcel.replaced
        lines = parcel.accepted()
        self.tally.delivered(lines, lines.count(b"\n"))
        self.tally.refused += replaced
        self._given_up = self._given_up + 1 if replaced else 0
        self._up()
        if self._given_up > 1:  # a sink that takes nothing but our excuses loses records slowly
            self._failures = self._given_up
            self._pause(self._backoff_s(0.0))
            self._failures = 0

    def _refused(self, parcel: Parcel, why: str) -> bool:
        self.tally.errors += 1
        if parcel.replaced:  # it refuses whatever it is offered: that says nothing about the line
            parcel.take_back()
        elif not parcel.single:
            parcel.halve()
            return True
        else:
            parcel.give_up(Why.REFUSED)
            return True
        self._down(why, 0.0)
        return False

    def _up(self) -> None:
        self._failures = 0
        if not self.tally.up:
            self.tally.up, self.tally.why = True, ""
            _log.warning("a sink takes records again", sink=self.sink.name)

    def _down(self, why: str, retry_s: float) -> None:
        self.tally.errors += 1
        self._failures += 1
        why = why[:_WHY_MAX]
        if self.tally.up:  # one line for each outage, not for each try
            self.tally.up = False
            _log.error("a sink takes no records", sink=self.sink.name, cause=why)
        self.tally.why = why
        self._pause(self._backoff_s(retry_s))

    def _backoff_s(self, asked_s: float) -> float:
        most_s = min(RETRY_MAX_S, RETRY_MIN_S * 2 ** min(self._failures, 16))
        pause_s = min(asked_s, RETRY_ASKED_MAX_S) or random.uniform(0.0, most_s)  # noqa: S311 - no secret
        return min(pause_s, RETRY_DRAINING_S) if self.draining else pause_s

    def _pause(self, pause_s: float) -> None:
        """Wait, unless the end begins."""
        if self.draining:
            self._stopped.wait(min(pause_s, RETRY_DRAINING_S))
        else:
            self._hurry.wait(pause_s)

"""One sink's own thread: takes from the streams what the sink has not, delivers it, and notes how far it is.

Nothing of it is shared with another sink: one that is down holds up nobody. INVARIANT: a position moves only
after the sink took what lies before it, and is kept before anything that it passed is deleted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import NamedTuple

from authz.config.log import get_logger, place_of
from authz.record.notice import Why
from authz.shipping.delivery import Refused, Rejected, Sink, Unavailable
from authz.shipping.parcel import ChainAt, Parcel
from authz.shipping.positions import Position, Positions
from authz.shipping.reader import Reader, Taken
from authz.shipping.retry import RETRY_DRAINING_S, Chance, Retry
from authz.shipping.route import Route
from authz.shipping.spool import Spool
from authz.shipping.stream import Stream
from authz.shipping.tally import SinkTally

SAVE_S, SAVE_BYTES = 0.5, 1024 * 1024  # delivered between positions that are kept: only then room is made
COMPANY_S = 0.1  # a batch that is much smaller than it may be waits so long for the next
_SMALL = 4  # one part in so many
_IDLE_S = 1.0  # at the latest everything is looked at again
_WHY_MAX = 300
_EVERYTHING = 1 << 63
NO_TIP = "-"  # a chain was begun, and with nothing before it

_log = get_logger("shipping")

MakeChain = Callable[[Stream, str], ChainAt]  # of a stream, begun with the tip of the one before it


class _Load(NamedTuple):
    """What is being delivered."""

    stream: Stream
    taken: Taken
    parcel: Parcel
    after: str


class Carrier:
    """Delivers to one sink.

    Args:
        passed: called with a stream of which more may be deleted now.
        make_chain: None: lines go as they are.
        most_bytes: of a batch, unless one block is larger; what is offered cannot be given up meanwhile.
        unsaved_max: how many records may be delivered beyond the kept positions.
    """

    def __init__(
        self,
        sink: Sink,
        positions: Positions,
        spool: Spool,
        passed: Callable[[str], None],
        make_chain: MakeChain | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Chance = random.uniform,
        most_bytes: int = 1 << 30,
    ) -> None:
        self.sink = sink
        self.positions = positions
        self.tally = SinkTally(sink.name)
        self.more = Event()  # something was written
        self.idle = False  # the last look at every stream found nothing
        self._spool = spool
        self._passed = passed
        self._make_chain = make_chain
        self._clock = clock
        self._retry = Retry(chance)
        self._given_up = Retry(chance)  # lines in a row that were refused
        self._route = Route(spool, positions)
        self._load: _Load | None = None
        self._offered: dict[str, int] = {}  # by stream: up to where it may have arrived
        self._unsaved = self._unsaved_bytes = 0
        self._unsaved_max = positions.unsaved_max
        self._most_bytes = min(sink.batch_bytes, most_bytes)
        self._touched: set[str] = set()
        self._saved_s = clock()
        self._draining = False
        self._stopped, self._hurry = Event(), Event()
        self._thread = Thread(target=self._run, name=f"carrier {sink.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def drain(self) -> None:
        """From now on nothing waits for company, and no retry for long."""
        self._draining = True
        self._hurry.set()
        self.more.set()

    def stop(self) -> None:
        """Ask for the end: what is offered just now may still arrive, nothing else does."""
        self._stopped.set()
        self._hurry.set()
        self.more.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Keep the positions, and let go of everything; after the end."""
        self._save()
        self._route.close()
        self.sink.close()

    def uncertain(self, stream: str) -> tuple[int, int]:
        """Return between which seqs, the first left out, records may have arrived that no position covers."""
        saved, loaded = self.positions.saved.get(stream), self.positions.loaded.get(stream)
        done = saved.done if saved else 0
        most = loaded.done + self.positions.loaded_unsaved if loaded and not loaded.end else 0
        return done, max(done, most, self._offered.get(stream, 0))

    def has_all(self, stream: Stream) -> bool:
        """Whether this stream is over, and everything of it has arrived."""
        position = self.positions.get(stream.name)
        return position is not None and position.end

    def waiting_bytes(self) -> int:
        """Return how much the sink has yet to get: what waits in segments, and what is being delivered.

        Segments that are not open are counted from their beginning: never more than the whole.
        """
        streams = list(self._spool.streams.values())
        waiting = self.tally.carrying + sum(self._route.waiting_bytes(stream) for stream in streams)
        return min(waiting, max(self.tally.carrying, sum(stream.bytes for stream in streams)))

    def step(self) -> float | None:
        """Offer one piece; return how long to wait before the next. None: there is nothing to offer."""
        self._load = load = self._load or self._taken()
        if load is None:
            if self._touched and self._clock() - self._saved_s >= SAVE_S:
                self._save()
            return None
        wait_s = 0.0 if load.parcel.done else self._offer(load.parcel)
        if not load.parcel.done:
            return wait_s
        self._load = None
        self._arrived(load)
        large = len(load.taken.lines) * _SMALL >= self._most_bytes
        return wait_s if wait_s or large or self._draining or not load.stream.alive else COMPANY_S

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.more.clear()  # first: what comes from here on is looked at again
            wait_s = self.step()
            self.idle = wait_s is None
            if wait_s is None:
                self.more.wait(SAVE_S if self._touched else _IDLE_S)
            elif wait_s and self._draining:
                self._stopped.wait(min(wait_s, RETRY_DRAINING_S))
            elif wait_s:
                self._hurry.wait(wait_s)

    def _taken(self) -> _Load | None:
        """Take what comes next."""
        for stream, reader in self._route.next():
            taken = self._take(stream, reader)
            if taken is not None:
                position = self._begun(stream, taken)
                chain_at = self._make_chain(stream, position.after) if self._make_chain else None
                parcel = Parcel(stream, taken, self._most_bytes, chain_at, position.chain)
                self.tally.oldest_us, self.tally.carrying = taken.oldest_us, len(taken.lines)
                return _Load(stream, taken, parcel, position.after)
        return None

    def _take(self, stream: Stream, reader: Reader) -> Taken | None:
        """Take from one stream. INVARIANT: from before it is read until that is kept, nobody replaces it."""
        self._offered[stream.name] = _EVERYTHING
        before = reader.taken_seq
        taken = reader.take(self._most_bytes, self._unsaved_max)
        self._offered[stream.name] = taken.last_seq if taken else before
        return taken

    def _begun(self, stream: Stream, taken: Taken) -> Position:
        """Return how far the sink was, and see that enough of it is kept before more may arrive."""
        position = self.positions.get(stream.name)
        span = taken.last_seq - taken.first_seq + 1
        if position is None or (self._make_chain and not position.after):
            for name in self._route.upcoming(stream):
                self.positions.set(name, self.positions.get(name) or Position())
            after = self.positions.tips.get(stream.sidecar, NO_TIP) if self._make_chain else ""
            position = Position(position.done if position else 0, after=after)
            self.positions.set(stream.name, position)
            self._save()
        elif self._unsaved and self._unsaved + span > self._unsaved_max:
            self._save()
        return position

    def _arrived(self, load: _Load) -> None:
        """Note that the sink has all of a load."""
        stream, taken, parcel = load.stream, load.taken, load.parcel
        self.tally.oldest_us = self.tally.carrying = 0
        self.positions.set(stream.name, Position(taken.last_seq, parcel.state, load.after, taken.ends))
        self._touched.add(stream.name)
        self._unsaved += taken.last_seq - taken.first_seq + 1
        if taken.ends:
            if parcel.tip:
                self.positions.tips[stream.sidecar] = parcel.tip
            self._route.leave(stream)
        self._unsaved_bytes += len(taken.lines)
        if self._unsaved_bytes >= SAVE_BYTES or self._clock() - self._saved_s >= SAVE_S:
            self._save()

    def _save(self) -> None:
        """Keep the positions, and say that more may be deleted."""
        touched, self._touched = self._touched, set()
        self._saved_s, self._unsaved, self._unsaved_bytes = self._clock(), 0, 0
        if not self.positions.save():
            self._touched |= touched  # once more, whether or not anything else arrives
        for stream in touched:
            self._passed(stream)
            saved = self.positions.saved.get(stream)
            if self.positions.get(stream) is None or (saved is not None and saved.end):
                self._offered.pop(stream, None)

    def _offer(self, parcel: Parcel) -> float:
        """Offer a piece; return how long to wait before the next."""
        try:
            self.sink.deliver(parcel.piece())
        except Unavailable as error:
            return self._down(str(error), error.retry_s)
        except Rejected as error:
            return self._partly(parcel, error)
        except Refused as error:
            return self._refused(parcel, str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one sink must not end the others
            # SECURITY: the kind and the place, never the message: it may quote what a client sent.
            return self._down(f"a bug of ours: {type(error).__name__} {place_of(error)}")
        return self._accepted(parcel)

    def _accepted(self, parcel: Parcel) -> float:
        gives_up = parcel.replaced
        lines = parcel.accepted()
        self.tally.delivered(lines, lines.count(b"\n"))
        self._up()
        if not gives_up:
            self._given_up.succeeded()
            return 0.0
        self.tally.refused += 1
        again, wait_s = self._given_up.failures > 0, self._given_up.failed()
        return wait_s if again else 0.0  # a sink that takes nothing but excuses shall lose records slowly

    def _partly(self, parcel: Parcel, rejected: Rejected) -> float:
        """Note that the sink has all but some of a piece, of which it shall not be offered any again."""
        if not parcel.countable:  # one of those may be a gap, which stands for who knows how many
            return self._refused(parcel, str(rejected))
        lines, missing = parcel.accepted_but(rejected.count)
        self.tally.delivered(lines, lines.count(b"\n") - missing)
        self.tally.refused += missing
        self._up()
        return 0.0

    def _refused(self, parcel: Parcel, why: str) -> float:
        if parcel.single and not parcel.replaced:
            parcel.give_up(Why.REFUSED)
        elif parcel.replaced or not parcel.halve():
            parcel.take_back()  # it refuses whatever it is offered: that says nothing about the line
            return self._down(why)
        return 0.0

    def _up(self) -> None:
        self._retry.succeeded()
        if not self.tally.up:
            self.tally.up, self.tally.why = True, ""
            _log.warning("a sink takes records again", sink=self.sink.name)

    def _down(self, why: str, retry_s: float = 0.0) -> float:
        if self._touched:  # or a kill before it is back would have all of that come again, in part as gaps
            self._save()
        self.tally.errors += 1
        self.tally.why = why[:_WHY_MAX]
        if self.tally.up:  # one line for each outage, not for each try
            self.tally.up = False
            _log.error("a sink takes no records", sink=self.sink.name, cause=self.tally.why)
            self._route.let_go()  # what is replaced while it is away is read as it is then
        return self._retry.failed(retry_s)

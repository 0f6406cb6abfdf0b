"""After the replies have left: number what was answered, hand its records to the queue, and count it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from authz.model.decision import Allow, Answered
from authz.record.entry import FixedFields, encode
from authz.record.notice import event_line
from authz.record.numbers import Numbers
from authz.record.queue import RecordQueue
from authz.record.tally import Tally

_SHARES = 1 << 24  # of decision ids, whose last digits are random: six hex digits


class Keeper:
    """Keeps what one judging thread answered.

    Args:
        numbers: of this process; shared by its judging threads.
        sample_allows: percent of allows that are recorded.
    """

    def __init__(self, queue: RecordQueue, tally: Tally, numbers: Numbers, sample_allows: int = 100) -> None:
        self._queue = queue
        self._tally = tally
        self._numbers = numbers
        self._slot = numbers.slot()
        self._open = 0
        self._sampled = None if sample_allows >= 100 else sample_allows * _SHARES // 100

    @property
    def full(self) -> bool:
        """Whether no check shall be answered but by `overloaded`: its record could not be kept."""
        return self._queue.full

    def promise(self, count: int) -> None:
        """Say that so many checks are about to be answered: were we killed now, their records are missing."""
        self._open += count
        self._numbers.head[self._slot] = self._open

    def keep(self, answered: Sequence[Answered], fixed: FixedFields) -> None:
        """Take what was answered under one snapshot. Never blocks."""
        kept = answered if self._sampled is None else self._sample(answered, self._sampled)
        numbers = self._numbers
        with numbers.lock:
            lines: list[bytes] = []
            try:
                for one in kept:
                    lines.append(encode(one, fixed, numbers.last_seq + 1 + len(lines)))
            finally:
                numbers.last_seq += len(kept)
                numbers.head[0] = numbers.last_seq
                self._queue.put(lines, len(kept) - len(lines))
            self._open = max(0, self._open - len(answered))
            numbers.head[self._slot] = self._open
        for one in answered:
            self._tally.add(one)

    def _sample(self, answered: Sequence[Answered], share: int) -> Sequence[Answered]:
        """Leave allows out by chance, as many as the operator wants; what is traced is always kept."""
        kept = [
            one
            for one in answered
            if not isinstance(one.decision, Allow)
            or one.trace is not None
            or int(one.decision_id[-6:], 16) < share
        ]
        self._tally.sampled_out += len(answered) - len(kept)
        return kept


class Diary:
    """Records what happened that is no check.

    Args:
        numbers: of this process.
    """

    def __init__(self, queue: RecordQueue, numbers: Numbers) -> None:
        self._queue = queue
        self._numbers = numbers

    def note(self, event: str, time_us: int, revision: str = "", about: Mapping[str, str] = {}) -> None:
        """Record an event; `about` holds nothing that a client wrote. Any thread may, and none waits."""
        numbers = self._numbers
        with numbers.lock:
            numbers.last_seq += 1
            numbers.head[0] = numbers.last_seq
            line = event_line(
                event, numbers.sidecar, numbers.stream, numbers.last_seq, revision, about, time_us
            )
            self._queue.put([line])

"""Records as evidence: one pass over them says whether they are all there, as they were shipped.

Lines that are chained (`record/chain.py`) are followed link by link; of all others the numbers are held
against the gaps. Memory is bounded however much is read. What this cannot prove: docs/evidence.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from authz.history.finding import Fault, Finding, Report, StreamReport
from authz.history.ledger import Ledger, Window
from authz.history.line import Chunk, Flaw, Place
from authz.history.link import Link, read_link
from authz.history.strand import Strand
from authz.record.chain import PublicKey, digest
from authz.record.notice import Why

# Lines whose repetition is known: what was shipped again after a fault lies so near. At least 13 MB, twice as
# much at most.
WINDOW = 65_536
FINDINGS_MAX = 1000
_NOTES_MAX = 1000
STREAMS_MAX = 50_000  # 2 KB each
_ID_MAX = 64  # characters of a stream's id; ours have 16
_TORN_MAX = 8  # beginnings of lines that may stand whole further on
_WHYS = frozenset(Why)
_RECORD, _EVENT, _GAP, _CHECKPOINT = "", "event", "gap", "checkpoint"
_NUMBERED = frozenset((_RECORD, _EVENT, _GAP))


class _Torn(NamedTuple):
    start: bytes
    finding: int


class Verifier:
    """Takes all lines, the oldest first, and reports.

    Args:
        keys: what checkpoints may be signed with; none: signatures are not looked at.
    """

    def __init__(self, keys: Iterable[PublicKey] = (), window: int = WINDOW) -> None:
        self._keys = {key.id: key for key in keys}
        self._window = Window(window)
        self._ledger = Ledger(FINDINGS_MAX)
        self._strands: dict[str, Strand] = {}
        self._kinds: Counter[str] = Counter()
        self._declared: Counter[str] = Counter()
        self._notes: list[str] = []
        self._torn: list[_Torn] = []
        self._lines = self._repeats = self._mended = self._foreign = 0

    def take(self, item: Chunk | Flaw) -> None:
        """Take what comes next."""
        if isinstance(item, Flaw):
            self._unreadable(b"", item.place, item.what)
            return
        source, number, byte = item.first
        for line in item.data.split(b"\n"):
            if line:
                self._line(line, Place(source, number, byte))
            number += 1 if number else 0
            byte += len(line) + 1 if byte >= 0 else 0

    def report(self) -> Report:
        """Return what was found, once all is taken."""
        for strand in self._strands.values():
            strand.finish()
        if len(self._strands) == STREAMS_MAX:
            self._notes.append(f"there are more than {STREAMS_MAX:,} streams; verify fewer files at once")
        seen = {strand.stream: self._after_seen(strand) for strand in self._strands.values()}
        streams = [strand.report(after_seen=seen[strand.stream]) for strand in self._strands.values()]
        self._between(streams)
        self._notes += _unpreceded(streams)
        if self._foreign and not self._keys:
            self._notes.append(f"{self._foreign} lines name no stream or no number: nothing is known of them")
        if not self._keys and any(stream.chained for stream in streams):
            self._notes.append("no key was given: no signature was looked at")
        return Report(
            self._lines, self._kinds[_RECORD], self._kinds[_EVENT], self._kinds[_GAP],
            sum(stream.checkpoints for stream in streams), self._repeats, self._mended, self._foreign,
            dict(self._declared), sum(strand.numbers.undeclared for strand in self._strands.values()),
            tuple(sorted(streams, key=lambda one: (one.sidecar, one.stream))), self._ledger.total,
            self._ledger.all(), tuple(self._notes[:_NOTES_MAX]),
        )  # fmt: skip

    def _line(self, line: bytes, place: Place) -> None:
        self._lines += 1
        try:
            link = read_link(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self._unreadable(line, place, "is no record")
            return
        if self._torn:
            self._mend(line)
        chained = bool(link.prev) or link.kind == _CHECKPOINT
        numbered = link.last >= 0 and link.kind in _NUMBERED
        strand = self._strand(link) if 0 < len(link.stream) <= _ID_MAX and (chained or numbered) else None
        if strand is None:
            self._unnumbered(line, place, chained=chained)
            return
        mark = digest(line).decode()
        new = strand.follow(link, line, mark, place) if chained else strand.plain(link, mark, place)
        self._counted(link, new=new)

    def _strand(self, link: Link) -> Strand | None:
        strand = self._strands.get(link.stream)
        if strand is None and len(self._strands) < STREAMS_MAX:
            strand = Strand(link, self._keys, self._window, self._ledger, self._notes)
            self._strands[link.stream] = strand
        return strand

    def _unnumbered(self, line: bytes, place: Place, *, chained: bool) -> None:
        """What belongs to no stream proves nothing; but no chain has such a line."""
        if chained:
            self._unreadable(line, place, "is linked, and names no stream that is followed")
            return
        self._foreign += 1
        if self._keys:  # SECURITY: whoever searches finds it, and takes it for a record
            text = "names no stream or no number, so that no chain can hold it"
            self._ledger.add(Finding(Fault.UNCHAINED, str(place), "", "", -1, text))

    def _counted(self, link: Link, *, new: bool) -> None:
        if not new:
            self._repeats += 1
            return
        self._kinds[link.kind] += 1
        if link.kind == _GAP:
            self._declared[link.why if link.why in _WHYS else "other"] += max(0, link.count)

    def _unreadable(self, line: bytes, place: Place, what: str) -> None:
        fault = Fault.UNREADABLE if line else Fault.CUT
        number = self._ledger.add(Finding(fault, str(place), "", "", -1, what))
        if line and len(self._torn) < _TORN_MAX:
            self._torn.append(_Torn(line, number))

    def _mend(self, line: bytes) -> None:
        """A writer that was killed leaves the beginning of a line, which then comes whole."""
        for torn in self._torn:
            if line.startswith(torn.start):
                self._ledger.drop(torn.finding)
                self._torn.remove(torn)
                self._mended += 1
                return

    def _after_seen(self, strand: Strand) -> bool:
        before = self._strands.get(strand.after)
        if not strand.after:
            return False
        if before is None:
            self._notes.append(
                f"stream {strand.after} of `{strand.sidecar}`, which came before {strand.stream}, is not here"
            )
            return False
        if before.tip == strand.after_tip:
            return True
        text = (
            f"names another end of the stream {strand.after} than stands here: the last lines of it are gone"
        )
        self._ledger.add(
            Finding(
                Fault.REMOVED, str(strand.began_at), strand.sidecar, strand.after, before.numbers.last, text
            )
        )
        return False

    def _between(self, streams: Sequence[StreamReport]) -> None:
        """Find what is gone with the end of a stream and the beginning of the one that followed it.

        A stream whose beginning is missing as well may be the older part of what was rotated away.
        """
        chained = sorted((one for one in streams if one.chained), key=lambda one: (one.sidecar, one.stream))
        for before, after in pairwise(chained):
            if before.sidecar == after.sidecar and before.begun and not before.ended and not after.begun:
                place = str(self._strands[after.stream].began_at)
                text = f"the beginning of this stream is gone, and so is the end of {before.stream} before it"
                self._ledger.add(
                    Finding(Fault.REMOVED, place, after.sidecar, after.stream, after.first_seq, text)
                )


def _unpreceded(streams: Sequence[StreamReport]) -> list[str]:
    begun = [stream for stream in streams if stream.begun]
    alone = sum(not stream.after for stream in begun)
    if not alone:
        return []
    return [
        f"{alone} of {len(begun)} chained streams name none before them: if others are gone, it does not show"
    ]


def verify(
    items: Iterable[Chunk | Flaw], keys: Iterable[PublicKey], progress: Callable[[], None] = lambda: None
) -> Report:
    """Read everything and report.

    Args:
        progress: called after each chunk.
    """
    verifier = Verifier(keys)
    for item in items:
        verifier.take(item)
        progress()
    return verifier.report()

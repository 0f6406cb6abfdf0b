"""The chain of one stream, followed line by line. What does not follow is named with its place.

A line that names the one before it goes on. One that names an earlier one is a branch: lines were put in, on
one of the two sides, and the side that a checkpoint signs is the genuine one. One that names nothing that is
known is a break: what stood before it was altered, or taken away, or comes later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from authz.history.finding import Fault, Finding, StreamReport
from authz.history.ledger import Ledger, Window
from authz.history.line import Place
from authz.history.link import Link
from authz.history.numbering import Hole, Numbering
from authz.record.chain import PublicKey

_NAME_MAX = 200
_PENDING_MAX = 1000  # breaks whose missing line may still come


@dataclass(slots=True)
class _Branch:
    tip: str
    finding: int
    fork: int  # number of the line that it shares with the chain
    last: int


class Strand:
    """What is known of one stream while its lines are read.

    Args:
        keys: id -> key; none: signatures are not looked at.
    """

    def __init__(
        self, link: Link, keys: Mapping[str, PublicKey], window: Window, ledger: Ledger, notes: list[str]
    ) -> None:
        self.sidecar, self.stream = link.sidecar[:_NAME_MAX], link.stream
        self._keys, self._window, self._ledger, self._notes = keys, window, ledger, notes
        self.numbers = Numbering(self._lacking)
        self.tip = ""  # digest of the last line
        self.after = self.after_tip = ""
        self.began_at = Place("")
        self._tip_at = Place("")
        self._last = -1  # the last number that the tip speaks of
        self._number = self._signed_number = (
            0  # lines followed so far, and when a checkpoint last signed them
        )
        self._branch: _Branch | None = None
        self._pending: dict[str, int] = {}  # digest of a line that is not here yet -> finding
        self._lines = self._plain = self._checkpoints = self._unsigned = 0
        self._signed_seq = -1
        self._chained = self._begun = self._ended = self._disputed = False
        self._anew = False  # what was known of the chain was lost, and what stood here came again

    def plain(self, link: Link, mark: str, place: Place) -> bool:
        """Take a line that names no other; return whether it is new."""
        if self._window.get(mark) is not None:
            return False
        if self._chained:
            self._find(
                Fault.UNCHAINED, place, link.first, "is not linked to the one before it, as all others are"
            )
        self._window.add(mark, 0)
        self._plain += 1
        if not self._count(link, place, told=self._chained):
            self._find(Fault.INSERTED, place, link.seq, f"has the number {link.seq}, as another one has")
        return True

    def follow(self, link: Link, line: bytes, mark: str, place: Place) -> bool:
        """Take a line that names another, and has this digest; return whether it is new."""
        self._chained = True
        jumped = False
        on_branch = self._branch is not None and link.prev == self._branch.tip
        if link.prev == self.tip and self.tip:
            if self._ended:
                self._find(Fault.INSERTED, place, link.first, "stands after the end of its stream")
        elif on_branch:
            if mark in self._pending:
                self._late(link, mark, place)
        elif self._window.get(mark) is not None:
            return False
        elif mark in self._pending:
            self._late(link, mark, place)
            self._branch = _Branch(mark, 0, self._number, link.last)
            on_branch = True
        elif link.at == "begin" and link.kind == "checkpoint":
            self._begin(link, place)
        elif self.tip and (fork := self._window.get(link.prev)) is not None:
            self._fork(link, mark, place, fork)
            on_branch = True
        elif not self.tip:
            self._pending[link.prev] = 0  # it begins in the middle
        else:
            jumped, on_branch = self._broken(link, mark, place)
        self._number += 1
        self._window.add(mark, self._number)
        self._accept(link, mark, place, on_branch=on_branch)
        if not self._count(link, place, told=jumped) and not on_branch and not self._anew:
            self._find(Fault.INSERTED, place, link.seq, f"has the number {link.seq}, as another one has")
        if link.kind == "checkpoint":
            self._checkpoint(link, line, place, on_branch=on_branch)
        return True

    def report(self, *, after_seen: bool) -> StreamReport:
        """Return what there is of it, once all is read."""
        return StreamReport(
            self.sidecar, self.stream, self.numbers.first, self.numbers.last, self._lines, self._chained,
            self._checkpoints, self._signed_seq, self._unsigned + self._plain, self._begun, self._ended,
            self.after, after_seen,
        )  # fmt: skip

    def finish(self) -> None:
        """Account for all numbers, and for a stream that nothing vouches for."""
        self.numbers.settle()
        if self._chained and self._plain:
            self._notes.append(f"stream {self.stream}: {self._plain} of its lines are not chained")
        if self.numbers.excess:
            self._notes.append(
                f"stream {self.stream}: {self.numbers.excess} records are here that gaps declare missing"
            )
        if not self._keys:
            return
        fault, text = Fault.SIGNATURE, ""
        if not self._chained:
            fault, text = Fault.UNCHAINED, "begins a stream that is not chained"
        elif not self._checkpoints and not self._disputed:
            text = "begins a stream of which no checkpoint is here: nothing vouches for it"
        elif self._plain and not self._begun:
            fault, text = Fault.UNCHAINED, "is not chained, as lines after it are"
        if text:
            self._find(fault, self.began_at, self.numbers.first, text)

    def _accept(self, link: Link, mark: str, place: Place, *, on_branch: bool) -> None:
        if link.kind != "checkpoint":
            self._lines += 1
        if on_branch and self._branch is not None:
            self._branch.tip, self._branch.last = mark, max(link.last, self._branch.last)
            return
        self.tip, self._tip_at = mark, place
        self._last = max(link.last, self._last) if link.at != "begin" else link.last
        self._unsigned += link.kind != "checkpoint"

    def _count(self, link: Link, place: Place, *, told: bool) -> bool:
        """Have its numbers accounted for; False where another line has its number."""
        if not self.began_at.source:
            self.began_at = place
        if link.kind == "gap":
            if 0 <= link.first_seq <= link.last_seq:
                self.numbers.declare(link.first_seq, link.last_seq, link.count, place)
            return True
        if link.kind == "checkpoint" or link.seq < 0:
            return True
        return self.numbers.have(link.seq, place, told=told)

    def _begin(self, link: Link, place: Place) -> None:
        if self.tip:
            self._anew = True
            self._notes.append(
                f"{place}: the chain of stream {self.stream} begins anew after number {self._last}:"
                f" what was known of it was lost; {self._unsigned} lines before stay unsigned"
            )
            # SECURITY: or somebody put lines before it, linked to each other and to nothing else: whoever has
            # no key can do that, and no checkpoint will ever come to sign them.
            if self._unsigned and self._keys:
                text = (
                    f"ends lines that no checkpoint signs, {self._unsigned}: the chain begins anew after it"
                )
                self._find(Fault.INSERTED, self._tip_at, self._last, text)
                self._unsigned = 0
        elif self._plain and self._keys and self.numbers.last > link.seq:
            text = "stands before the beginning of its chain, which it should follow"
            self._find(Fault.INSERTED, self.began_at, self.numbers.last, text)
        self.numbers.begin(link.seq)
        self.after, self.after_tip, self.began_at = link.after[:_NAME_MAX], link.prev, place

    def _late(self, link: Link, mark: str, place: Place) -> None:
        """What a line named is here, and after it."""
        if self._branch is not None and self._branch.finding:
            self._ledger.drop(self._branch.finding)  # the lines that came with it, out of order as well
            self._branch.finding = 0
        found = self._finding(Fault.REORDERED, place, link.first, "stands behind the one that follows it")
        self._ledger.replace(self._pending.pop(mark), found)

    def _fork(self, link: Link, mark: str, place: Place, fork: int) -> None:
        number = self._find(
            Fault.INSERTED, place, link.first, "stands where another one stands, too; no checkpoint signs it"
        )
        self._branch = _Branch(mark, number, fork, link.last)

    def _broken(self, link: Link, mark: str, place: Place) -> tuple[bool, bool]:
        """Say what happened before this line; return if numbers are missing, and if it leads aside."""
        missing = link.first - self._last - 1
        if missing < 0:
            text = f"stands after number {self._last}, and what it follows is not here"
            number = self._find(Fault.REORDERED, place, link.first, text)
            self._branch = _Branch(mark, number, self._number, link.last)
            return False, True
        if missing:
            text = f"follows {missing} records that are not here, from number {self._last + 1} on"
            number = self._find(Fault.REMOVED, place, self._last + 1, text)
        else:
            text = f"is not as it was shipped, or lines without a number are gone from there to {place}"
            number = self._find(Fault.ALTERED, self._tip_at, self._last, text)
        if len(self._pending) < _PENDING_MAX:
            self._pending[link.prev] = number
        return True, False

    def _checkpoint(self, link: Link, line: bytes, place: Place, *, on_branch: bool) -> None:
        if not self._keys:
            return
        key = self._keys.get(link.key)
        if key is None or not key.signed(line):
            since = f"nothing vouches for what stands after number {max(self._signed_seq, 0)}"
            who = (
                "is signed by a key that was not given"
                if key is None
                else "does not bear its key's signature"
            )
            self._find(Fault.SIGNATURE, place, link.seq, f"{who}: {since}")
            self._disputed = True
            return
        if on_branch and self._branch is not None and self._branch.finding:
            self._promote(self._branch)
        self._checkpoints += 1
        self._signed_seq, self._signed_number, self._unsigned = link.seq, self._number, 0
        self._begun = self._begun or link.at == "begin"
        self._ended = self._ended or link.at == "end"

    def _promote(self, branch: _Branch) -> None:
        """The branch is signed, so it is genuine; the other side is, if it was signed behind the fork."""
        self._branch = None
        if self._signed_number > branch.fork:
            self._ledger.drop(branch.finding)
            self._notes.append(
                f"stream {self.stream}: lines up to number {self._last} were shipped twice, not alike"
            )
        else:
            text = "stands where another one stands, too, which a checkpoint signs"
            found = self._finding(Fault.INSERTED, self._tip_at, self._last, text)
            self._ledger.replace(branch.finding, found)
        self.tip, self._last = branch.tip, branch.last

    def _lacking(self, hole: Hole, count: int) -> None:
        if not hole.told:
            span = f"{hole.first}" if hole.size == 1 else f"{hole.first} to {hole.last}"
            text = f"of the numbers {span} {count} are missing, and no gap says why"
            place = hole.where if isinstance(hole.where, Place) else self.began_at
            self._find(Fault.HOLE, place, hole.first, text)

    def _find(self, fault: Fault, place: Place, seq: int, text: str) -> int:
        return self._ledger.add(self._finding(fault, place, seq, text))

    def _finding(self, fault: Fault, place: Place, seq: int, text: str) -> Finding:
        return Finding(fault, str(place), self.sidecar, self.stream, seq, text)

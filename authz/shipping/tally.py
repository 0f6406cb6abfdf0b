"""What becomes of records at each sink, counted."""

from __future__ import annotations

from collections import Counter

import msgspec

from authz.record.notice import Gap

GAP = (
    b'{"v":1,"kind":"gap"'  # how a gap line begins; no text of a client can hold this: its quotes are escaped
)

_gap = msgspec.json.Decoder(Gap).decode


class SinkTally:
    """What one sink did. Its carrier counts; others read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.written = self.refused = self.errors = 0
        self.gaps: Counter[str] = Counter()  # records that gap lines counted, by why
        self.up = True
        self.why = ""  # why it is down, in one line
        self.oldest_us = 0  # of the batch that is being delivered; 0: none is
        self.carrying = 0  # bytes of it

    def delivered(self, lines: bytes, count: int) -> None:
        """Count lines that arrived."""
        gaps = gaps_in(lines)
        self.written += count - len(gaps)
        for gap in gaps:
            self.gaps[gap.why] += max(0, gap.count)


def gaps_in(lines: bytes) -> list[Gap]:
    """Return the gaps that these lines declare."""
    if GAP not in lines:  # a fifth of a millisecond per MiB, and nearly always all that is done
        return []
    return [_read(line) for line in lines.split(b"\n") if line.startswith(GAP)]


def _read(line: bytes) -> Gap:
    try:
        return _gap(line)
    except (msgspec.DecodeError, UnicodeDecodeError):  # not as we write them: it shall hold up nobody
        return Gap()

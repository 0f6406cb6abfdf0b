"""One line of records, read for what ties it to the others: its number, and the line that it names."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class Link(Struct, gc=False):
    """What of a line matters to its chain and its numbers."""

    v: int = 0
    kind: str = ""
    sidecar: str = ""
    stream: str = ""
    seq: int = -1
    first_seq: int = -1
    last_seq: int = -1
    count: int = -1
    why: str = ""
    lines: int = -1
    at: str = ""
    after: str = ""
    prev: str = ""
    key: str = ""

    @property
    def last(self) -> int:
        """The last number that it speaks of."""
        return self.last_seq if self.kind == "gap" else self.seq

    @property
    def first(self) -> int:
        """The first one; of a checkpoint, the next one."""
        if self.kind == "gap":
            return self.first_seq
        return self.seq + 1 if self.kind == "checkpoint" else self.seq


read_link = msgspec.json.Decoder(Link).decode

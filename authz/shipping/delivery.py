"""What a sink is to whoever ships records."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Batch(NamedTuple):
    """Lines that go together: of one stream, in its order.

    Args:
        lines: JSON, each with its newline.
        records: how many lines.
        first_seq, last_seq: what they cover, gaps included.
        time_us: wall clock when the last of them was written.
    """

    stream: str
    lines: bytes
    records: int
    first_seq: int
    last_seq: int
    time_us: int


class Unavailable(Exception):
    """A sink did not take a batch: it is offered again later, whole. The text says why, in one line.

    Args:
        retry_s: what the sink itself says of when, or 0.
    """

    def __init__(self, why: str, retry_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_s = retry_s


class Refused(Exception):
    """A sink will not take this batch, however often it is offered: too large, or not to its liking."""


class Rejected(Refused):
    """A sink took this batch but for some, does not say which, and shall not be offered it again.

    So the batch is done with, and a gap counts those. Whoever splits it all the same loses nothing, and has
    the rest arrive twice.

    Args:
        count: how many it did not take: fewer than there were.
    """

    def __init__(self, count: int) -> None:
        super().__init__(f"it took all but {count}")
        self.count = count


class Sink(Protocol):
    """A place that takes records. One thread uses it."""

    @property
    def name(self) -> str:
        """Its name in metrics and logs: no client's word in it."""
        ...

    @property
    def batch_bytes(self) -> int:
        """How much it is glad to take at once."""
        ...

    def deliver(self, batch: Batch) -> None:
        """Hand over a batch; when this returns, the sink has it. Waits for as long as its own time limit.

        Raises:
            Unavailable: not now.
            Refused: never.
            Rejected: but for some.
        """
        ...

    def reopen(self) -> None:
        """Ask for a fresh start at the next batch, as after a rotation. Any thread may ask."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...

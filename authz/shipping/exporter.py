"""What speaks OTLP, whichever way."""

from __future__ import annotations

from typing import Literal, Protocol

Kind = Literal["logs", "traces"]
"""Which of a collector's services."""


class Exporter(Protocol):
    """Sends requests of one service."""

    def export(self, payload: bytes) -> bytes:
        """Send one request; return the answer's message.

        Raises:
            Unavailable: not now.
            Refused: never.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; the next request makes another."""
        ...

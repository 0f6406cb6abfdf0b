"""Decision ids: UUIDv7, so that they sort by time and never repeat. Source: RFC 9562, section 5.7."""

from __future__ import annotations

from random import Random

_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62


class Mint:
    """Makes decision ids for one thread.

    They are names, not secrets: knowing one gives no right to anything. So a generator of the standard
    library, seeded by the system, does; the system's own generator costs a call into the kernel each.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._bits = Random(seed).getrandbits  # noqa: S311 - names, not secrets

    def make(self, time_us: int) -> str:
        """Return a new id for a moment (microseconds since 1970)."""
        random = self._bits(74)
        number = (
            (time_us // 1000 & 0xFFFFFFFFFFFF) << 80
            | _VERSION
            | (random >> 62) << 64
            | _VARIANT
            | (random & 0x3FFFFFFFFFFFFFFF)
        )
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

"""The clocks of this machine; every other module is handed the time."""

from __future__ import annotations

import time


class SystemClock:
    """The clocks of this machine."""

    def wall_us(self) -> int:
        """Microseconds since 1970."""
        return time.time_ns() // 1000

    def ticks_us(self) -> int:
        """Microseconds of a clock that never goes back."""
        return time.monotonic_ns() // 1000

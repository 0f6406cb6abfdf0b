"""What crashed, on the log: at most so often, since a crash per request must not flood it.

It became `internal_error`; or the reply had left, and documents in shadow or records were at work.
"""

from __future__ import annotations

from authz.config.log import get_logger, place_of
from authz.wiring.clock import SystemClock

CRASHES_PER_S = (
    1.0  # log lines; every crash is counted, as `internal_error` or in `authz_shadow_crashes_total`
)

_log = get_logger("wiring")


class Crashes:
    """Logs crashes; counts those that it leaves out."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._next_us = 0
        self._silent = 0

    def tell(self, error: BaseException) -> None:
        """Log one, or count it."""
        now_us = self._clock.ticks_us()
        if now_us < self._next_us:
            self._silent += 1
            return
        # SECURITY: the kind and the place, never the message: it may quote what a client sent.
        _log.error(
            "a check crashed and was refused, unless its reply had left",
            kind=type(error).__name__,
            place=place_of(error),
            unlogged=self._silent,
        )
        self._next_us, self._silent = now_us + int(1e6 / CRASHES_PER_S), 0

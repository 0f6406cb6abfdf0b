"""The template in its file, followed: a ConfigMap's mount changes without a signal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from authz.admission.numbers import Numbers
from authz.config.log import get_logger
from authz.injection.template import MAX_BYTES, Template
from authz.model.errors import ConfigError

LOOK_S = 1.0  # between looks at the file, however many pods come

_GOOD = "authz_webhook_template_good"

_Mark = tuple[int, int, int, int]
_log = get_logger("webhook")


class Blueprint:
    """The last good template.

    Args:
        path: of `injection.json`; links are followed.
        numbers: where it is told whether what stands there is good.

    Raises:
        ConfigError: there is none that can be used.
    """

    def __init__(
        self,
        path: Path,
        numbers: Numbers,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._numbers = numbers
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._mark = _mark(path)
        self._template = _read(path)
        self._next_s = monotonic_s() + LOOK_S
        numbers.show(_GOOD, 1)

    def now(self) -> Template:
        """Return the template in force; a look at the file is taken where the last is old."""
        with self._lock:
            if self._monotonic_s() >= self._next_s:
                self._next_s = self._monotonic_s() + LOOK_S
                self._look()
            return self._template

    def _look(self) -> None:
        mark = _mark(self._path)
        if mark == self._mark:
            return
        # Marked before it is read: what is written meanwhile differs from the mark, and is read again.
        self._mark = mark
        try:
            self._template = _read(self._path)
        except ConfigError as fault:
            self._numbers.show(_GOOD, 0)
            _log.error("the new template cannot be used; the last good one is kept", fault=str(fault))
            return
        self._numbers.show(_GOOD, 1)
        _log.info("template loaded", file=str(self._path))


def _read(path: Path) -> Template:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        words = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"{path}: {words}; name the `injection.json` that the chart renders") from None
    return Template.parse(content, str(path))


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)

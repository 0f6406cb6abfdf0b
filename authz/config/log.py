"""What the process says of itself: JSON on standard error, one line an event. The only importer of structlog.

Never for a check: those have records. An event costs ten times as much as a record does.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# structlog colours consoles with rich wherever it is installed, and loads 5 MiB for it. We write JSON: while
# structlog is loaded, rich is not to be found. (`authz` itself needs rich for people, and loads it later.)
_hide_rich = "rich" not in sys.modules
if _hide_rich:
    sys.modules["rich"] = None  # type: ignore[assignment]  # None makes the import fail, by the language's rule
import structlog  # noqa: E402 - after the line above
from structlog.typing import EventDict, FilteringBoundLogger  # noqa: E402 - as before

if _hide_rich:
    del sys.modules["rich"]

Logger = FilteringBoundLogger

_STDERR = 2
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_TEXT_MAX = 4096  # characters of one value; a traceback fits, a hostile megabyte does not
_DEL = "\x7f"  # the one control character that JSON lets through


class Stderr:
    """Writes finished lines. A closed or full standard error loses lines; it never stops the process."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int = _STDERR) -> None:
        self._fd = fd

    def msg(self, line: str) -> None:
        """Write one line with one system call, so that lines of threads do not mix."""
        try:
            os.write(self._fd, line.encode("ascii", "backslashreplace") + b"\n")
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg


def configure(level: str = "info", fd: int = _STDERR, worker: int | None = None) -> None:
    """Set up logging for this process.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        fd: where lines go.
        worker: which of several processes this is: stands on every line.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *(() if worker is None else (_Naming(worker),)),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: Stderr(fd),
        cache_logger_on_first_use=False,  # loggers of modules are made before the level is known
    )


def get_logger(room: str) -> Logger:
    """Return a logger whose lines name the room. Safe at import, before `configure`."""
    logger: Logger = structlog.get_logger(room=room)
    return logger


@contextmanager
def correlated(**ids: str) -> Iterator[None]:
    """Put ids (a decision's, a reload's) on every line that is logged inside."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield


def place_of(error: BaseException) -> str:
    """Return the file and line that raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "unknown"


class _Naming:
    """Puts the worker on every line."""

    __slots__ = ("_worker",)

    def __init__(self, worker: int) -> None:
        self._worker = worker

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        event["worker"] = self._worker
        return event


def _to_json(event: dict[str, object], **_: object) -> str:
    shortened = {name: _short(value) for name, value in event.items()}
    return json.dumps(shortened, ensure_ascii=True, default=_named).replace(_DEL, "\\u007f")


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > _TEXT_MAX:
        return f"{value[:_TEXT_MAX]}...[+{len(value) - _TEXT_MAX} characters]"
    return value


def _named(value: object) -> str:
    # SECURITY: str, not repr: types that hold a secret mask both, others need not mask repr.
    return str(_short(str(value)))

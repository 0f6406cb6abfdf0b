"""Tells when what stands in some directories may have changed, and is complete.

a link on the way is swapped    complete at once: what it leads to was written before
anything else                   complete once nothing has changed for `quiet_ms`, and git is done checking out

Events come from the system; whoever asks looks now and then all the same, since a network file system tells
of nothing, and a system may run out of watches. Each directory is watched for itself, never what is below it:
a work tree of git is swapped beside the old one, and neither is part of the other's set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Literal, Protocol

from watchfiles import Change
from watchfiles._rust_notify import RustNotify

from authz.snapshot.checkout import Checkout
from authz.snapshot.scan import Watched

_STEP_MS = 10  # the library looks so often whether there were events, and tells at the second look
_QUIET_STEP_MS = 5  # while it is to be quiet
QUIET_MAX_S = 2.0  # who writes for longer is read in between: half a set that is broken replaces nothing
_GRACE_S = 1.0  # the library's patience goes by the wall clock, which may be set back

Told = set[tuple[int, str]]  # kind of change and real path


class Notify(Protocol):
    """What tells of events."""

    def watch(
        self, debounce_ms: int, step_ms: int, timeout_ms: int, stop_event: Stopping | None
    ) -> Told | Literal["signal", "stop", "timeout"]:
        """Wait for events."""
        ...

    def close(self) -> None:
        """Watch no longer."""
        ...


class Stopping(Protocol):
    """Says when to wait no longer."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


def _notify(directories: list[str]) -> Notify:
    # Nor may an error be ignored: it would be that of running out of watches, too.
    readable = [one for one in directories if _is_text(one) and os.access(one, os.R_OK)]
    return RustNotify(readable, False, False, 0, False, False)  # noqa: FBT003 - that is its signature


def _is_text(directory: str) -> bool:
    """Whether the library takes a name; whoever made another one must not cost everybody their watches."""
    return directory.isascii() or not any("\ud800" <= character <= "\udfff" for character in directory)


class Watch:
    """Watches what a look depended on; for one thread.

    Args:
        ended: set when nobody is interested any more.
        notify: what tells of events in directories; may raise OSError.
    """

    def __init__(
        self,
        quiet_ms: int,
        ended: Event,
        notify: Callable[[list[str]], Notify] = _notify,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet_ms = quiet_ms
        self._ended = ended
        self._make = notify
        self._monotonic_s = monotonic_s
        self._notify: Notify | None = None
        self._watched = Watched({}, frozenset())
        self._doubted = False  # whether a watch may be of something that is not there any more
        self._checkout = Checkout()

    @property
    def told(self) -> bool:
        """Whether the system tells of changes; else there is nothing but looking."""
        return self._notify is not None

    def arm(self, watched: Watched) -> bool:
        """Watch what the last look depended on; True where that is new, so that a further look is due."""
        if self.told and watched == self._watched and not self._doubted:
            return False
        renew = not self.told or self._doubted or watched.directories != self._watched.directories
        self._watched, self._doubted = watched, False
        return renew and self._renew()

    def _renew(self) -> bool:
        old, self._notify = self._notify, None
        try:
            self._notify = self._make(sorted(self._watched.directories))
        except FileNotFoundError:
            pass  # a directory went away since: look again
        except (OSError, RuntimeError):
            return False  # no watches left
        finally:
            if old is not None:
                old.close()
        return True

    def doubt(self) -> None:
        """Watch anew with the next arming: something changed, and nobody told."""
        self._doubted = True

    def wait(self, timeout_s: float) -> bool:
        """Wait until something may have changed and is complete; False where nothing did in time."""
        until_s = self._monotonic_s() + timeout_s
        told = self._events(until_s, _STEP_MS)
        if not told:
            return False
        if not self._swapped(told):
            self.settle()
        return True

    def settle(self) -> None:
        """Wait until nothing has changed for a while; not for ever."""
        end_s = self._monotonic_s() + QUIET_MAX_S
        while not self._ended.is_set():
            self._checkout.wait(self._watched.directories, self._ended)
            now_s = self._monotonic_s()
            quiet_s = min(self._quiet_ms / 1000, max(0.0, end_s - now_s))
            if not self._events(now_s + quiet_s, _QUIET_STEP_MS) or self._monotonic_s() >= end_s:
                return

    def close(self) -> None:
        """Watch no longer."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None

    def _events(self, until_s: float, step_ms: int) -> Told:
        """Return what was told that matters; nothing where the time ran out before."""
        while not self._ended.is_set():
            left_s = until_s - self._monotonic_s()
            if self._notify is None:
                self._ended.wait(max(0.0, left_s))
                return set()
            if left_s <= 0:
                return set()
            found = self._next(self._notify, left_s, step_ms)
            if found:
                return found
        return set()

    def _next(self, notify: Notify, left_s: float, step_ms: int) -> Told:
        patience = _Patience(self._ended, self._monotonic_s, self._monotonic_s() + left_s + _GRACE_S)
        try:
            found = notify.watch(step_ms, step_ms, max(1, int(left_s * 1000)), patience)
        except RuntimeError:  # the library lost its footing: begin anew, and look what was missed
            self.close()
            return {(Change.modified, "")}
        if isinstance(found, str):
            # Told to stop, it drops what it has: when it was not we who ended, look.
            lost = found == "stop" and not self._ended.is_set()
            return {(Change.modified, "")} if lost else set()
        return set(self._relevant(found))

    def _relevant(self, told: Told) -> Iterable[tuple[int, str]]:
        directories, names, holding = self._watched
        for kind, path in told:
            directory, _, name = path.rpartition("/")
            if path in directories and kind != Change.modified:
                # A watch ends with its directory. One that is made in its place may get its very inode.
                self._doubted = True
            if path in names or path in directories or (directory in holding and name[:1] != "."):
                yield kind, path

    def _swapped(self, told: Told) -> bool:
        """Whether a link on the way was swapped, and nothing was written in what it now leads to."""
        swapped = {
            path
            for kind, path in told
            if kind == Change.added and path in self._watched.names and _link(path)
        }
        return bool(swapped) and not any(
            kind == Change.modified for kind, path in told if path not in swapped
        )


class _Patience:
    """Ends a wait whose clock was set back."""

    def __init__(self, ended: Event, monotonic_s: Callable[[], float], until_s: float) -> None:
        self._ended, self._monotonic_s, self._until_s = ended, monotonic_s, until_s

    def is_set(self) -> bool:
        """Whether to wait no longer."""
        return self._ended.is_set() or self._monotonic_s() > self._until_s


def _link(path: str) -> bool:
    return Path(path).is_symlink()

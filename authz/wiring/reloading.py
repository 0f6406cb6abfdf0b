"""The thread that loads: when something changed, and now and then whether it did or not."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread

from authz.config.log import get_logger, place_of
from authz.config.rooms import SnapshotSettings
from authz.record.facts import LoadFacts
from authz.snapshot.scan import Watched
from authz.snapshot.watch import Watch
from authz.wiring.loader import GivenUp, Loader
from authz.wiring.mounts import Mounts

SLOW_S = 10.0  # a load that goes on for longer is told of
_EVERY = 6  # of so many looks one reads every file, whatever its marks say: it costs 20 us a file
_RETRY_S = 1.0  # between looks while there is nothing to serve
_AGAIN_MAX = 5  # looks in a row because what is watched moved: a link may be swapped all the time
_GIVE_UP_S = 3.0

_log = get_logger("wiring")


class Reloading:
    """Keeps what is served equal to what stands in the directories, on a thread of its own.

    Args:
        after: called after each try to load, by that thread.
    """

    def __init__(self, loader: Loader, settings: SnapshotSettings, after: Callable[[], None]) -> None:
        self._loader = loader
        self._poll_s = settings.poll_s
        self._after = after
        self._ended = Event()
        self._watch = Watch(settings.quiet_ms, self._ended)
        self._mounts = Mounts()
        self._looks = 0
        self._renewed = False
        self._slow = False
        self._thread = Thread(target=self._run, name="loader", daemon=True)
        self.loaded = Event()  # once the first try is over, whatever came of it

    def facts(self) -> LoadFacts:
        """Return what metrics say."""
        loader = self._loader
        return LoadFacts(
            loader.took_us / 1e6, loader.running_us() / 1e6, self._watch.told, len(self._mounts.frozen)
        )

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def close(self) -> None:
        """Load no more; a load that is under way is given up.

        Left running it would be ended by the interpreter when that ends; in frames of C++ that aborts.
        """
        self._ended.set()
        self.loaded.set()
        if self._thread.ident is None:
            return
        self._loader.give_up()
        self._thread.join(_GIVE_UP_S)
        if self._thread.is_alive():
            _log.warning("a load does not end: it is left behind")

    def look(self) -> None:
        """Say so where a load does not end: nobody waits for it. Some other thread calls it now and then."""
        running_s = self._loader.running_us() / 1e6
        if running_s >= SLOW_S and not self._slow:
            _log.warning("loading the policy set takes long; what is in force stays", running_s=running_s)
        self._slow = running_s >= SLOW_S

    def _run(self) -> None:
        with suppress(GivenUp):
            while not self._ended.is_set():
                try:
                    self._follow()
                except Exception as error:  # noqa: BLE001 - SECURITY: without this thread nothing is revoked
                    _log.error("following the directories crashed: please report it", where=place_of(error))
                    self._ended.wait(_RETRY_S)

    def _follow(self) -> None:
        next_look_s = 0.0
        try:
            while not self._ended.is_set():
                now_s = time.monotonic()
                if now_s >= next_look_s:
                    calm = self._look_around()
                    next_look_s = now_s + (self._poll_s if calm else _RETRY_S)
                elif self._watch.wait(next_look_s - now_s) and not self._load(told=True):
                    next_look_s = min(next_look_s, now_s + _RETRY_S)
        finally:
            self._watch.close()

    def _look_around(self) -> bool:
        """Look whether anything changed of which nobody has told; False where another look is due soon."""
        first, every = self._looks == 0, self._looks % _EVERY == 0
        self._looks += 1
        if not first and self._loader.moved():
            self._watch.doubt()
            self._watch.settle()
        elif not every and self._watch.told:
            return True
        return self._load(every=every) and self._loader.snapshot.ready

    def _load(self, *, every: bool = False, told: bool = False) -> bool:
        """Load what stands there; False where it moves on too fast to be watched."""
        for _ in range(_AGAIN_MAX):
            if self._ended.is_set():
                break
            self._renewed = False
            self._loader.load(self._arm, every=every, told=told)
            self.loaded.set()
            self._after()
            if not self._renewed:
                return True
            every = told = False
        return False

    def _arm(self, watched: Watched) -> None:
        """Watch what was read. What changed before that was told by nobody: look again."""
        self._renewed = self._watch.arm(watched)
        self._mounts.look(watched)

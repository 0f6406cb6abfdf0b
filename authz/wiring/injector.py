"""The processes of `authz inject-webhook` and `authz inject-watch`, built and run until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from authz.admission import keeper, patrol
from authz.admission.blueprint import Blueprint
from authz.admission.desk import Desk
from authz.admission.door import Door
from authz.admission.keeper import Keeper, Place
from authz.admission.kube import Kube
from authz.admission.numbers import Numbers
from authz.admission.pace import keep_doing
from authz.admission.patrol import Patrol
from authz.config.log import get_logger
from authz.model.address import Address, TcpAddress
from authz.model.errors import ConfigError
from authz.record.metrics import CONTENT_TYPE
from authz.transport.ops import OpsServer
from authz.transport.routes import Readiness, Response, Route, health, problem, ready

_LOOK_S = 0.5
_FINISH_S = 5.0  # for answers that were begun: an API server waits no longer

_log = get_logger("injector")


class WebhookSettings(NamedTuple):
    """What `authz inject-webhook` is told."""

    listen: TcpAddress
    ops: Address
    template: Path
    place: Place
    watched: Sequence[str]  # namespaces; `*`: all; none: pods are not counted
    drain_s: float


class WatchSettings(NamedTuple):
    """What `authz inject-watch` is told."""

    ops: Address
    template: Path
    watched: Sequence[str]


class Webhook:
    """Answers the API server until told to stop.

    Raises:
        ConfigError: the template, an address or the way to the API server cannot be used.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._told = _Told()
        self._stop = threading.Event()
        numbers = Numbers()
        blueprint = Blueprint(settings.template, numbers)
        kube = _cluster()
        self._blueprint = blueprint
        self._keeper = Keeper(kube, settings.place, numbers)
        self._door = Door(settings.listen, self._keeper.secured, Desk(blueprint.now, numbers).answer)
        self._works = [_Work("keeper", self._keep, keeper.LOOK_S, self._stop)]
        if settings.watched:
            self._works.append(_watching(kube, settings.watched, blueprint, numbers, self._stop))
        self._ops = _ops(settings.ops, numbers, self._works, self._ready)

    @property
    def address(self) -> TcpAddress:
        """Where it listens: once it runs, with the real port where 0 was asked."""
        return self._door.address

    def stop(self) -> None:
        """Have `run` end. Safe in a signal handler."""
        self._told.stop()

    def run(self) -> None:
        """Serve.

        Raises:
            ConfigError: an address cannot be had.
        """
        self._ops.start()
        try:
            self._door.open()
            for work in self._works:
                work.start()
            _log.info("listening", webhook=str(self._door.address), ops=str(self._ops.address))
            self._told.wait()
            self._leave()
        finally:
            self._stop.set()
            self._ops.close()

    def _leave(self) -> None:
        """Go on for a while: the Service has to be told by then that nobody is here."""
        _log.info("stopping", drain_s=self._settings.drain_s)
        self._door.drain()
        time.sleep(self._settings.drain_s)
        self._door.close(_FINISH_S)

    def _keep(self) -> bool:
        self._blueprint.now()  # looked at without a pod, too, so that metrics say how it is
        return self._keeper.look()

    def _ready(self) -> Readiness:
        if self._told.leaving:
            return Readiness(ready=False, why="it is stopping")
        known, why = self._keeper.ready()
        return Readiness(ready=known, why=why)


class Watch:
    """Counts labelled pods until told to stop.

    Raises:
        ConfigError: the template, the address or the way to the API server cannot be used.
    """

    def __init__(self, settings: WatchSettings) -> None:
        self._told = _Told()
        self._stop = threading.Event()
        numbers = Numbers()
        blueprint = Blueprint(settings.template, numbers)
        self._work = _watching(_cluster(), settings.watched, blueprint, numbers, self._stop)
        self._ops = _ops(settings.ops, numbers, [self._work], self._ready)

    def stop(self) -> None:
        """Have `run` end. Safe in a signal handler."""
        self._told.stop()

    def run(self) -> None:
        """Count.

        Raises:
            ConfigError: the address cannot be had.
        """
        self._ops.start()
        try:
            self._work.start()
            _log.info("watching", ops=str(self._ops.address))
            self._told.wait()
        finally:
            self._stop.set()
            self._ops.close()

    def _ready(self) -> Readiness:
        done = self._work.done
        return Readiness(ready=done, why="" if done else "labelled pods were not counted yet")


class _Told:
    """Whether somebody said to stop; a signal handler may, since its queue needs no lock of ours."""

    def __init__(self) -> None:
        self.leaving = False
        self._words: SimpleQueue[None] = SimpleQueue()

    def stop(self) -> None:
        """Say so."""
        self.leaving = True
        self._words.put(None)

    def wait(self) -> None:
        """Wait until somebody does."""
        # Not without end: the system may give a signal to a thread of a library, and its handler runs here,
        # once this thread wakes up.
        while not self.leaving:
            with suppress(Empty):
                self._words.get(timeout=_LOOK_S)


class _Work:
    """Something done again and again, in a thread of its own."""

    def __init__(self, name: str, work: Callable[[], bool], every_s: float, stop: threading.Event) -> None:
        self.done = False  # once, at least
        self._work = work
        self._thread = threading.Thread(
            target=keep_doing, args=(self._once, every_s, stop), name=name, daemon=True
        )
        self.start = self._thread.start

    def _once(self) -> bool:
        done = self._work()
        self.done = self.done or done
        return done

    @property
    def well(self) -> bool:
        """It has not begun, or goes on."""
        return self._thread.ident is None or self._thread.is_alive()


def _watching(
    kube: Kube, namespaces: Sequence[str], blueprint: Blueprint, numbers: Numbers, stop: threading.Event
) -> _Work:
    look = Patrol(kube, namespaces, blueprint.now, numbers, time.time).look
    return _Work("watch", look, patrol.LOOK_S, stop)


def _cluster() -> Kube:
    try:
        from authz.admission.cluster import connect
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the module `{error.name}` is missing, which speaks to API servers: install `authz[kubernetes]`"
        ) from None
    return connect()


def _ops(
    address: Address, numbers: Numbers, works: Sequence[_Work], readiness: Callable[[], Readiness]
) -> OpsServer:
    alive = health()

    def well(rest: str) -> Response:
        if not all(work.well for work in works):
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, "a thread of this process ended; start it anew")
        return alive(rest)

    routes: dict[str, Route] = {
        "/health": well,
        "/ready": ready(readiness),
        "/metrics": lambda _: Response(HTTPStatus.OK, CONTENT_TYPE, numbers.page()),
    }
    return OpsServer(address, routes)

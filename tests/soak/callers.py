"""Callers through the real Envoy: good, bad, limited and hostile requests; whether the answers are right."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Sequence
from threading import Event, Lock, Thread
from typing import NamedTuple

from authz.proxy.client import request_bytes, send_raw

_TIMEOUT_S = 10.0
_HOSTILE_EVERY = 16  # hostile ones need a connection each


class Case(NamedTuple):
    """A request, and the statuses that are right for it. 503 is always explicit, and counted by itself."""

    name: str
    path: str
    headers: tuple[tuple[str, str], ...]
    right: frozenset[int]
    host: str = "app.test"


def cases(token: str, revoked: str) -> list[Case]:
    """Return the well-formed ones: allowed, refused, limited."""
    good, bad = (("x-api-key", token),), (("x-api-key", revoked),)
    broken = (("x-api-key", token[:-1] + ("0" if token[-1] != "0" else "1")),)
    return [
        Case("open", "/public/a", (), frozenset({200})),
        Case("key", "/items/1", good, frozenset({200})),
        Case("no key", "/items/1", (), frozenset({401})),
        Case("revoked key", "/items/1", bad, frozenset({401})),
        Case("broken key", "/items/1", broken, frozenset({401})),
        Case("no rule", "/nowhere", good, frozenset({403})),
        Case("deny rule", "/public/a", (("x-blocked", "yes"),), frozenset({403})),
        Case("limited", "/tenth", good, frozenset({200, 429})),
        Case("closed", "/admin/x", (), frozenset({401, 403}), host="closed.test"),
    ]


# Spellings of a path that nobody may reach without a key, on a host where all else is closed.
_DETOURS = ("../", "%2e%2e/", "..;/", "..%2f", "%2e%2e%2f", "..%5c", "x/../../", "..%00/", "%252e%252e/")
HOSTILE = (
    *(f"/public/{detour}admin/x" for detour in _DETOURS),
    *(
        "//admin/x",
        "/./admin/x",
        "/%61dmin/x",
        "/admin%2fx",
        "/admin;/x",
        "/admin\\x",
        "/public/a%zz",
        "/a\x01b",
    ),
)


class Callers:
    """Threads that ask until told to stop."""

    def __init__(self, port: int, known: Sequence[Case], threads: int) -> None:
        self._port = port
        self._cases = known
        self._end = Event()
        self._lock = Lock()
        self.answers: Counter[str] = Counter()
        self.wrong: list[tuple[float, str, int]] = []  # when, what, with which status
        self.away: list[float] = []  # when there was a 503, or nothing at all
        self._threads = [Thread(target=self._run, args=(at,), daemon=True) for at in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Have every thread end."""
        self._end.set()
        for thread in self._threads:
            thread.join(_TIMEOUT_S * 2)

    def _run(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
        while not self._end.is_set():
            number += 1
            if number % _HOSTILE_EVERY == 0:
                self._hostile(HOSTILE[number // _HOSTILE_EVERY % len(HOSTILE)])
            else:
                self._ask(connection, self._cases[number % len(self._cases)])
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, case: Case) -> None:
        try:
            connection.request("GET", case.path, headers={"host": case.host, **dict(case.headers)})
            reply = connection.getresponse()
            reply.read()
            status = reply.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        self._count(case.name, status, case.right)

    def _hostile(self, path: str) -> None:
        try:
            status = send_raw(self._port, request_bytes("GET", path, [("host", "closed.test")])).status
        except OSError:
            status = 0
        # Envoy itself mends or refuses some: what counts is that none is let through.
        self._count(f"hostile {path!r}", status, frozenset(range(300, 500)))

    def _count(self, name: str, status: int, right: frozenset[int]) -> None:
        with self._lock:
            self.answers["requests"] += 1
            if status in (0, 503):
                self.away.append(time.monotonic())
            if status == 0:
                self.answers["unanswered"] += 1
            elif status == 503:
                self.answers["503"] += 1
            elif status in right:
                self.answers["right"] += 1
            else:
                self.answers["wrong"] += 1
                self.wrong.append((time.monotonic(), name, status))

"""The operators' door, over one process or over many: the same routes, whoever knows the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

from authz.config.rooms import ServeSettings
from authz.record.metrics import CONTENT_TYPE, OPENMETRICS
from authz.record.recent import Recent, Wanted, page, wanted_of
from authz.transport.ops import OpsServer
from authz.transport.routes import (
    Form,
    Page,
    Readiness,
    Response,
    Route,
    health,
    metrics,
    problem,
    ready,
    recent,
    records,
)
from authz.wiring.buckets import Asked, fullest, posts


class Answers(Asked, Protocol):
    """Who knows what operators ask."""

    def ailment(self) -> str:
        """Say why this must be started anew; "" where it is well."""
        ...

    def readiness(self) -> Readiness:
        """Say whether checks can be answered."""
        ...

    def page(self, *, openmetrics: bool = False) -> bytes:
        """Return what Prometheus scrapes."""
        ...

    def find(self, decision_id: str) -> bytes | None:
        """Return the record of a recent decision."""
        ...

    def recent(self, wanted: Wanted) -> tuple[Mapping[int, Recent], Sequence[int]]:
        """Return the recent records of each process, and those that did not answer."""
        ...


def operations(serve: ServeSettings, answers: Answers) -> list[OpsServer]:
    """Return the servers at `--ops` and `--debug`, not started yet."""
    servers = []
    if serve.ops is not None:
        routes: dict[str, Route] = {
            "/health": _health(answers),
            "/ready": ready(answers.readiness),
        }
        servers.append(OpsServer(str(serve.ops), routes, pages={"/metrics": _metrics(answers)}))
    if serve.debug is not None:
        seen: dict[str, Route] = {
            "/logs": recent(lambda query: _recent(answers, query)),
            "/logs/": records(answers.find),
            "/limits": fullest(answers),
        }
        servers.append(OpsServer(str(serve.debug), seen, posts(answers, serve.debug), private=True))
    return servers


def _recent(answers: Answers, query: str) -> bytes:
    wanted = wanted_of(query)
    told, silent = answers.recent(wanted)
    return page(told, wanted, silent)


def _metrics(answers: Answers) -> Page:
    return metrics(
        Form(CONTENT_TYPE, answers.page), Form(OPENMETRICS, lambda: answers.page(openmetrics=True))
    )


def _health(answers: Answers) -> Route:
    alive = health()

    def route(rest: str) -> Response:
        why = answers.ailment()
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, why) if why else alive(rest)

    return route

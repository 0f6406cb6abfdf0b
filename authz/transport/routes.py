"""What the operators' door answers: a function for each route, from what other rooms know to a response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

JSON = "application/json"
PROBLEM = "application/problem+json"


class Response(NamedTuple):
    """One HTTP response."""

    status: int
    content_type: str
    body: bytes


Route = Callable[[str], Response]  # takes what stands after a path that ends in "/"; else the query
Post = Callable[[bytes], Response]  # takes the body


class Readiness(NamedTuple):
    """Whether checks can be answered, and if not why."""

    ready: bool
    revision: str = ""
    why: str = ""  # one line; "" where ready
    rate_limits: bool = True  # False: RATE_LIMIT_ENABLED switched them off
    workers: Mapping[str, str] = {}  # worker -> its revision, or what is the matter with it
    about: Mapping[str, str] = {}  # field of the body -> what else there is to know about the policy set


def problem(status: HTTPStatus, detail: str = "") -> Response:
    """Return an error as RFC 9457 describes it."""
    body = {"type": "about:blank", "title": status.phrase, "status": int(status)}
    return Response(status, PROBLEM, _json(body | ({"detail": detail} if detail else {})))


def json_response(status: int, body: dict[str, object]) -> Response:
    """Return a JSON object as a response."""
    return Response(status, JSON, _json(body))


def health() -> Route:
    """Return the route that says that the process lives: a supervisor restarts it where this fails."""
    return lambda _: json_response(HTTPStatus.OK, {"status": "alive"})


def ready(state: Callable[[], Readiness]) -> Route:
    """Return the route that says whether checks can be answered: 200, or 503 and why not."""

    def route(_: str) -> Response:
        now = state()
        body: dict[str, object] = {"ready": now.ready}
        body |= {name: text for name, text in (("revision", now.revision), ("why", now.why)) if text}
        if not now.rate_limits:
            body["rate_limits"] = "off"
        body |= now.about
        if now.workers:
            body["workers"] = dict(now.workers)
        status = HTTPStatus.OK if now.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return json_response(status, body)

    return route


def metrics(render: Callable[[], bytes], content_type: str) -> Route:
    """Return the route that Prometheus scrapes."""
    return lambda _: Response(HTTPStatus.OK, content_type, render())


def records(find: Callable[[str], bytes | None]) -> Route:
    """Return the route that shows the record of a recent decision, by its id."""

    def route(decision_id: str) -> Response:
        line = find(decision_id)
        if line is None:
            return problem(HTTPStatus.NOT_FOUND, "no recent decision has this id")
        return Response(HTTPStatus.OK, JSON, line)

    return route


def recent(ask: Callable[[str], bytes]) -> Route:
    """Return the route that shows recent records; a query that cannot be read is a 400 that says why."""

    def route(query: str) -> Response:
        try:
            return Response(HTTPStatus.OK, JSON, ask(query))
        except ValueError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))

    return route


def buckets(ask: Callable[[bytes], bytes]) -> Post:
    """Return the route that is asked about buckets; a question that cannot be read is a 400 that says why."""

    def post(body: bytes) -> Response:
        try:
            return Response(HTTPStatus.OK, JSON, ask(body))
        except ValueError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))

    return post


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body).encode() + b"\n"

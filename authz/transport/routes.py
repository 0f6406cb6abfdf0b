"""What the operators' door answers: a function for each route, from what other rooms know to a response."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

JSON = "application/json"
PROBLEM = "application/problem+json"

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Response(NamedTuple):
    """One HTTP response."""

    status: int
    content_type: str
    body: bytes


Route = Callable[[str], Response]  # takes what stands after a path that ends in "/"; else the query
Post = Callable[[bytes], Response]  # takes the body
Page = Callable[[str], Response]  # takes the header `accept`


class Form(NamedTuple):
    """One form of a page."""

    content_type: str
    render: Callable[[], bytes]


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


def metrics(plain: Form, rich: Form) -> Page:
    """Return the page that Prometheus scrapes: in the rich form for whoever likes that at least as much."""

    def page(accept: str) -> Response:
        liking = _liking(accept, rich.content_type)
        form = rich if liking > 0 and liking >= _liking(accept, plain.content_type) else plain
        return Response(HTTPStatus.OK, form.content_type, form.render())

    return page


def _liking(accept: str, content_type: str) -> float:
    """Return how much is thought of a form: its `q`, 0 where it is not named, or in another version alone.

    Source: RFC 9110, sections 12.4.2 and 12.5.1. Wildcards say nothing: who knows of a form names it.
    """
    media, _, version = _named(content_type)
    offers = map(_named, accept.lower().split(","))
    return max((q for name, q, wanted in offers if name == media and wanted in ("", version)), default=0.0)


def _named(text: str) -> tuple[str, float, str]:
    """Return media type, `q` and version of one offer."""
    name, *rest = (part.strip() for part in text.split(";"))
    parameters = dict(part.partition("=")[::2] for part in rest)
    q = parameters.get("q", "1")
    return name, float(q) if _QUALITY.fullmatch(q) else 0.0, parameters.get("version", "")


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

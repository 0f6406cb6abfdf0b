"""A request in readable spelling, sent in both of Envoy's forms: one decision, and never a yes to a stranger.

GET items.example.com /public/a          method, host and path, divided by single spaces
x-api-key: ak_live_...                    headers, one a line
"""

from __future__ import annotations

from typing import NamedTuple

from tests.fuzz.target import Target
from tests.fuzz.world import ask
from tests.support.checks import check_request
from tests.support.keys import TOKEN


class Written(NamedTuple):
    """A request as an input writes it."""

    method: str
    host: str
    path: str
    headers: list[tuple[str, bytes]]


def read(data: bytes) -> Written:
    """Read an input; every one means something."""
    first, *others = data.split(b"\n")
    method, host, path = (*first.decode("utf-8", "replace").split(" ", 2), "", "", "")[:3]
    headers = []
    for line in others:
        name, _, value = line.partition(b": ")
        headers.append((name.decode("utf-8", "replace").lower(), value))
    return Written(method, host, path, [(name, value) for name, value in headers if name])


def run(data: bytes) -> None:
    """Ask for one request in both forms."""
    asked = read(data)
    sent = {"method": asked.method, "host": asked.host, "path": asked.path, "headers": asked.headers}
    raw = ask(check_request(**sent, mode="raw"))  # type: ignore[arg-type]  # one dict for two calls
    joined = ask(check_request(**sent, mode="map"))  # type: ignore[arg-type]  # as above
    assert (raw.allowed, raw.reason, raw.detail) == (joined.allowed, joined.reason, joined.detail)
    assert raw.payload == joined.payload


TARGET = Target(
    run,
    1024,
    (
        *(
            b"GET ",
            b"POST ",
            b"HEAD ",
            b"TRACE ",
            b"items.example.com ",
            b"kept.example.com ",
            b":443",
            b"\n",
        ),
        *(
            b"/public/",
            b"/admin",
            b"/x/",
            b"/shop.Orders/Get",
            b"%2e",
            b"%2F",
            b";",
            b"..",
            b"?api_key=",
            b"&",
        ),
        *(
            b"x-api-key: ",
            b"authorization: Bearer ",
            b"cookie: session=",
            b"origin: http://items.example.com",
        ),
        *(b"sec-fetch-site: same-origin", b"upgrade: websocket", b"upgrade: h2c", b"x-odd: yes", b"?odd=1"),
        *(b"content-type: application/grpc", b"x-http-method-override: PUT", b"x-auth-key-id: k", b", "),
        *(b"accept: text/html", b"x_auth_key_id: ", b"x-authz-reason: ", b"\xff", b"\x00", TOKEN.encode()),
        *(b"x-request-id: ", b"traceparent: ", b"x-forwarded-for: ", b":path: /admin", b"http2-settings: x"),
    ),
)

"""Any bytes as a CheckRequest: one whole answer, and never a yes to a stranger. The corpus is binary."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.world import ask
from tests.support.keys import TOKEN


def run(data: bytes) -> None:
    """Ask with these bytes."""
    ask(data)


TARGET = Target(
    run,
    1024,
    (
        *(b":authority", b":path", b":method", b"x-api-key", b"cookie", b"GET", b"POST", b"CONNECT", b"http"),
        *(b"items.example.com", b"kept.example.com", b"/public/a", b"/admin", b"/x/1", b"HTTP/1.1", b"/.."),
        *(b"%2e%2e", b"..;/", b"upgrade", b"application/grpc", b"x-forwarded-for", TOKEN.encode(), b"\xff"),
    ),
)

"""The same request gets the same decision whether Envoy sends raw headers or joined ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy import Live, another_envoy

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def joined_port(app: Live) -> Iterator[int]:
    """The port of a second Envoy before the same sidecar, with `encode_raw_headers: false`."""
    with another_envoy(app, "joined", raw_headers=False) as port:
        yield port


def _cases(app: Live) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
    key, other = app.tokens["acme"], app.tokens["globex"]
    return [
        ("GET", "/items", "app.test", []),
        ("GET", "/items", "app.test", [("x-api-key", key)]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-api-key", other)]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-api-key", "")]),
        ("GET", "/items", "app.test", [("x-api-key", f"{key},{other}")]),
        ("GET", "/items", "app.test", [("x-api-key", key + "\xe9")]),
        ("GET", "/items", "app.test", [("x-api-key", f" {key}")]),
        ("GET", "/items", "app.test", [("authorization", f"Bearer {key}")]),
        ("GET", "/items", "app.test", [("authorization", f"bearer {key}"), ("authorization", "Basic eA==")]),
        ("GET", "/items", "app.test", [("cookie", f"session={key}")]),
        ("GET", "/items", "app.test", [("cookie", f"session={key}"), ("cookie", "a=b")]),
        ("GET", "/items", "app.test", [("cookie", f"a=b; session={key}; session={other}")]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-blocked", "yes")]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-blocked", "no"), ("x-blocked", "yes")]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-blocked", "no,yes")]),
        ("GET", "/items", "app.test", [("x-api-key", key), ("x-blocked", "yes\xff")]),
        ("GET", "/public/a", "app.test", [("x-odd", "\x80\x81")]),
        ("GET", "/public/a", "app.test", [("x-auth-customer", "root"), ("x.tenant", "a")]),
        ("POST", "/public/a", "app.test", [("x-http-method-override", "PUT")]),
        ("TRACE", "/public/a", "app.test", []),
        ("GET", "/public/a;x=1", "app.test", []),
        ("GET", "/public/a", "other.test", []),
        ("GET", "/admin", "open.test", []),
    ]


def test_raw_and_joined_headers_are_judged_alike(app: Live, joined_port: int) -> None:
    for method, target, host, headers in _cases(app):
        raw, raw_seen = app.send(method, target, *headers, host=host)
        joined, joined_seen = app.send(method, target, *headers, host=host, port=joined_port)
        told = [(each.status, each.header("x-authz-reason")) for each in (raw, joined)]
        assert told[0] == told[1], (method, target, host, [name for name, _ in headers])
        assert [_identity(each) for each in raw_seen] == [_identity(each) for each in joined_seen]


def _identity(seen: object) -> list[tuple[str, str]]:
    headers: tuple[tuple[str, str], ...] = getattr(seen, "headers", ())
    return [(name, value) for name, value in headers if name.startswith(("x-auth", "x-tenant", "cookie"))]


def test_the_cases_tell_yes_from_no(app: Live) -> None:
    statuses = {app.send(m, t, *headers, host=host)[0].status for m, t, host, headers in _cases(app)}
    assert {200, 400, 401, 403, 405} <= statuses

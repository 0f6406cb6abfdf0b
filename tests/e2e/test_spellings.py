"""What Envoy cleans, what it leaves to us, and which judge an odd host selects.

That no spelling of a protected path gets through is tried by `tests/adversarial/`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy import Live, another_envoy, careless

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def careless_port(app: Live) -> Iterator[int]:
    with another_envoy(app, "careless", edit=careless) as port:
        yield port


def test_an_envoy_that_cleans_nothing_passes_odd_paths_on_to_us(app: Live, careless_port: int) -> None:
    for path in ("//items", "/items/../items", "/items%2f7"):
        reply, seen = app.send("GET", path, app.key(), port=careless_port)
        assert (reply.status, reply.header("x-authz-reason"), seen) == (400, "bad_request", [])


@pytest.mark.parametrize("name", ["x_auth_customer", "X_Auth-Customer", "x.auth_customer", "x_tenant"])
def test_behind_such_an_envoy_underscores_forge_no_identity(app: Live, careless_port: int, name: str) -> None:
    reply, seen = app.send("GET", "/items", app.key(), (name, "root"), port=careless_port)
    assert reply.status == 200
    assert "root" not in repr(seen)


def test_the_open_host_is_open_so_that_the_test_above_can_fail(app: Live) -> None:
    for send in (app.send, app.send2):
        reply, seen = send("GET", "/other/thing", host="open.test")
        assert (reply.status, [each.path for each in seen]) == (200, ["/other/thing"])


@pytest.mark.parametrize(
    ("sent", "served"),
    [("//items//7", "/items/7"), ("/items/./7", "/items/7"), ("/public/../items/7", "/items/7")],
)
def test_envoy_cleans_what_an_honest_client_sends(app: Live, sent: str, served: str) -> None:
    reply, seen = app.send("GET", sent, app.key())
    assert (reply.status, [each.path for each in seen]) == (200, [served])


@pytest.mark.parametrize("host", ["OPEN.test", "open.test.", "open.test:80", "oPeN.TeSt.:8080"])
def test_an_odd_spelling_of_the_host_selects_the_same_judge(app: Live, host: str) -> None:
    reply, seen = app.send("GET", "/admin", host=host)
    assert (reply.status, seen) == (403, [])
    reply, seen = app.send("GET", "/other", host=host)
    assert (reply.status, len(seen)) == (200, 1)


@pytest.mark.parametrize(
    "host",
    ["open.test:x", "open.test:99999", "a@open.test", "open.test/x", "open.test,app.test", "open..test", ""],
)
def test_an_impossible_host_is_refused(app: Live, host: str) -> None:
    reply, seen = app.send("GET", "/other", host=host)
    assert reply.status in (400, 403, 404)
    assert seen == []

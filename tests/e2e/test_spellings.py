"""A protected path stays protected under every spelling, over HTTP/1.1 and HTTP/2, through the real Envoy."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authz.proxy.upstream import Seen
from tests.support.proxy import Live, another_envoy
from tests.support.spellings import falls_under, fixed_spellings, readings, spelled_paths

pytestmark = pytest.mark.e2e

HAND_WRITTEN = [
    "/admin",
    "/admin/",
    "/admin/users",
    "//admin",
    "///admin//users",
    "/./admin",
    "/public/../admin",
    "/public/%2e%2e/admin",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/..;/admin",
    "/public/..;x=1/admin",
    "/;/admin",
    "/admin;x=1",
    "/admin;/users",
    "/admin%3b/users",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/admi%6E/users",
    "/admin%2fusers",
    "/%2fadmin",
    "/public%2f..%2fadmin",
    "/public/%2e%2e%2fadmin",
    "/public%5c..%5cadmin",
    "/public\\..\\admin",
    "/\\admin",
    "/%5cadmin",
    "/%252e%252e/admin",
    "/public/%252e%252e/admin",
    "/public/%252e%252e%252fadmin",
    "/%2561dmin",
    "/admin%00",
    "/admin%00.html",
    "/%00/admin",
    "/admin%0a",
    "/admin%09",
    "/admin%20",
    "/admin?x=/public",
    "/public/../admin?x",
    "/admin#/public",
    "/public#/../admin",
    "/admin/..%2fadmin",
    "/admin/%2e",
    "/admin/.",
    "/admin/%2e%2e/admin",
    "/%c0%ae%c0%ae/admin",
    "/public/%c0%ae%c0%ae/admin",
    "/%e0%80%afadmin",
    "/a%zz/../admin",
    "/admin%",
    "/admin%2",
    "/public/%%32%65%%32%65/admin",
    "/public/%u002e%u002e/admin",
    "http://open.test/admin",
    "http://other.test/admin",
    "//open.test/admin",
    "/./././admin",
    "/public/..//admin",
    "/public/...//../../admin",
    "/public/.;/../admin",
    "/admin/..;/admin",
    "*",
    "admin",
    "",
    "?/admin",
]


SPELLINGS = [*HAND_WRITTEN, *fixed_spellings("/admin")]
TYPEABLE = re.compile(r"[!-~\x80-\xff]*")  # a request line cannot hold the rest at all


def could_be_admin(seen: Seen) -> bool:
    """Whether any application, however odd, could take what it saw for `/admin` or something below."""
    path = seen.path.split("?")[0]
    return any(falls_under(reading, "/admin") for reading in readings(path))


@pytest.mark.parametrize("spelling", ["/admin", "/x/../admin", "/%2561dmin", "/..;/admin/x", "/\\admin\0x"])
def test_the_lenient_reader_recognises_what_it_should(spelling: str) -> None:
    assert could_be_admin(Seen("GET", spelling, ()))


def _careless(config: str) -> str:
    """Set an Envoy up as others may: it passes on every path as it came."""
    for ours, theirs in (
        ("normalize_path: true", "normalize_path: false"),
        ("merge_slashes: true", "merge_slashes: false"),
        (
            "path_with_escaped_slashes_action: REJECT_REQUEST",
            "path_with_escaped_slashes_action: KEEP_UNCHANGED",
        ),
        ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ):
        assert ours in config
        config = config.replace(ours, theirs)
    return config


@pytest.fixture(scope="module")
def careless_port(app: Live) -> Iterator[int]:
    with another_envoy(app, "careless", edit=_careless) as port:
        yield port


def _leak(app: Live, spelling: str, host: str, *, http2: bool, port: int = 0) -> str:
    """Return the path by which a spelling got through, or ""."""
    reply, seen = (app.send2 if http2 else app.send)("GET", spelling, host=host, port=port)
    assert len(seen) == (reply.status == 200), (spelling, reply.status)
    return next((each.path for each in seen if could_be_admin(each)), "")


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("host", ["open.test", "closed.test"])
def test_no_spelling_of_a_protected_path_reaches_the_application(app: Live, host: str, http2: bool) -> None:
    # What is no path at all ends a connection of HTTP/2, and Envoy takes a second over it: a few will do.
    tried = [each for each in SPELLINGS if each.startswith("/") or not http2] + [
        "admin",
        "http://open.test/admin",
    ]
    leaks = {spelling: _leak(app, spelling, host, http2=http2) for spelling in tried}
    assert {spelling: path for spelling, path in leaks.items() if path} == {}


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(spelling=spelled_paths("/admin").filter(lambda path: TYPEABLE.fullmatch(path)), http2=st.booleans())
def test_no_generated_spelling_does_either(app: Live, spelling: str, http2: bool) -> None:
    http2 = http2 and spelling.startswith("/")
    assert _leak(app, spelling, "open.test", http2=http2) == ""


@pytest.mark.parametrize("host", ["open.test", "closed.test"])
def test_behind_an_envoy_that_cleans_nothing_we_alone_keep_them_out(
    app: Live, careless_port: int, host: str
) -> None:
    leaks = {spelling: _leak(app, spelling, host, http2=False, port=careless_port) for spelling in SPELLINGS}
    assert {spelling: path for spelling, path in leaks.items() if path} == {}


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(spelling=spelled_paths("/admin").filter(lambda path: TYPEABLE.fullmatch(path)))
def test_behind_such_an_envoy_no_generated_spelling_gets_through_either(
    app: Live, careless_port: int, spelling: str
) -> None:
    assert _leak(app, spelling, "open.test", http2=False, port=careless_port) == ""


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

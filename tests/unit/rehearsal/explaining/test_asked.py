from __future__ import annotations

from typing import Any

import pytest

from authz.model.site import Listener
from authz.rehearsal.explaining.explanation import RequestPart
from authz.snapshot.build import Surroundings
from tests.support.explaining import ask
from tests.support.policies import PROVIDER, load

POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules: [{name: all, effect: allow, identity: [anyone]}]
  onAllow: {headers: {x-who: identity.customer}}
"""


def request(path: str = "/", listener: Listener | None = None, **asked: Any) -> RequestPart:
    built = load(PROVIDER, POLICY, surroundings=Surroundings(listener=listener or Listener()))
    told = ask(built, path, **asked).request
    assert told is not None
    return told


def test_what_was_sent_otherwise_is_shown_beside_the_canonical_form() -> None:
    told = request("/a%21/?b=1&c%64=2&b=3&&=x", host="ITEMS.example.com.:443", method="HEAD")
    assert (told.method, told.sent_method) == ("GET", "HEAD")
    assert (told.host, told.sent_host) == ("items.example.com", "ITEMS.example.com.:443")
    assert (told.path, told.sent_path) == ("/a!", "/a%21/")
    assert told.segments == ("a!",)
    assert told.query == ("b", "cd", "")
    plain = request("/a")
    assert (plain.sent_method, plain.sent_host, plain.sent_path, plain.query) == ("", "", "", ())


def test_headers_that_only_we_may_set_are_told() -> None:
    told = request(headers={"x_who": "me", "x-authz-a": "b", "x-other": "c"})
    assert told.strays == ("x-authz-a", "x_who")
    assert set(told.headers) == {"x_who", "x-authz-a", "x-other"}


@pytest.mark.parametrize(
    ("listener", "forwarded", "address", "source"),
    [
        (Listener(), "", "192.0.2.1", "the direct peer"),
        (
            Listener(),
            "1.2.3.4",
            "192.0.2.1",
            "the direct peer; x-forwarded-for is ignored: no proxy is trusted",
        ),
        (
            Listener(trusted_hops=1),
            "9.9.9.9, 1.2.3.4",
            "1.2.3.4",
            "entry 1 from the right of x-forwarded-for",
        ),
        (
            Listener(trusted_hops=1, xff_appended=True),
            "9.9.9.9, 1.2.3.4",
            "9.9.9.9",
            "entry 2 from the right of x-forwarded-for",
        ),
        (
            Listener(trusted_hops=2),
            "1.2.3.4",
            "192.0.2.1",
            "the direct peer: x-forwarded-for has fewer than 2 entries",
        ),
        (
            Listener(trusted_hops=1),
            "",
            "192.0.2.1",
            "the direct peer: x-forwarded-for has fewer than 1 entries",
        ),
        (
            Listener(trusted_hops=1),
            "unknown",
            "",
            "nowhere: entry 1 from the right of x-forwarded-for is no address",
        ),
    ],
)
def test_the_clients_address_says_where_it_comes_from(
    listener: Listener, forwarded: str, address: str, source: str
) -> None:
    for path in ("/", "//"):  # read, and not
        told = request(path, listener, headers={"x-forwarded-for": forwarded} if forwarded else {})
        assert (told.address, told.address_from) == (address, source)


def test_a_request_that_cannot_be_read_is_shown_as_it_was_sent() -> None:
    told = request("/a/../b?c=d", host="a b", headers={"X": "1"})
    assert (told.sent_host, told.sent_path, told.fault, told.headers) == (
        "a b",
        "/a/../b",
        "host_invalid",
        ("x",),
    )
    assert (told.host, told.path, told.segments) == ("", "", ())


def test_a_grpc_call_is_said_to_be_one() -> None:
    assert request("/a.B/C", method="POST", headers={"content-type": "application/grpc"}).grpc

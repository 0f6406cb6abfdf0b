"""What may be asked about buckets at the debug socket, and where it may be changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from authz.limits.inquiry import COUNT_MAX, Answers, Inquiry
from authz.model.address import Address, TcpAddress, UnixAddress
from authz.wiring.buckets import fullest, posts

HERE = UnixAddress(Path("/run/authz/debug.sock"))


class Sidecar:
    def __init__(self) -> None:
        self.asked: list[Inquiry] = []

    def buckets(self, inquiry: Inquiry) -> Answers:
        self.asked.append(inquiry)
        return Answers([], [3])


def post(path: str, body: object, address: Address = HERE) -> tuple[int, Any, list[Inquiry]]:
    sidecar = Sidecar()
    reply = posts(sidecar, address)[path](body if isinstance(body, bytes) else json.dumps(body).encode())
    return reply.status, json.loads(reply.body), sidecar.asked


def test_a_look_changes_nothing_whatever_it_asks_for() -> None:
    status, body, asked = post("/limits/find", {"buckets": [["a", None]], "forgive": True, "count": 5})
    assert (status, body) == (200, {"workers": [], "silent": [3]})
    assert asked == [Inquiry(buckets=[["a", None]], count=5)]


def test_a_reset_fills_up_all_that_is_named() -> None:
    status, _, asked = post("/limits/reset", {"buckets": [["a", "b", "c"]], "count": 1})
    assert status == 200
    assert asked == [Inquiry(buckets=[["a", "b", "c"]], count=COUNT_MAX, forgive=True)]


@pytest.mark.parametrize("body", [{}, {"limit": "a"}, {"buckets": []}, b"", b"{", [], {"bucket": [["a"]]}])
def test_a_reset_that_names_no_bucket_changes_nothing(body: object) -> None:
    status, problem, asked = post("/limits/reset", body)
    assert (status, asked) == (400, [])
    assert problem["detail"]


def test_over_a_port_nothing_is_reset_and_everything_may_be_seen() -> None:
    port = TcpAddress("127.0.0.1", 9193)
    status, problem, asked = post("/limits/reset", {"buckets": [["a"]]}, port)
    assert (status, asked) == (403, [])
    assert "Unix socket" in problem["detail"]
    assert post("/limits/find", {}, port)[0] == 200


def test_whoever_asks_for_nothing_special_sees_the_fullest() -> None:
    sidecar = Sidecar()
    assert fullest(sidecar)("").status == 200
    assert sidecar.asked == [Inquiry()]

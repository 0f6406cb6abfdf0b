"""CheckRequests as Envoy writes them, and what an answer makes of the request."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.service.auth.v3 import external_auth_pb2

from authz.attack.case import Ask, Verdict
from authz.attack.message import check_request, legible, read_answer
from tests.support.checks import sanitised

ASK = Ask(b"/a?k=v&x=y", headers=((b"X-A", b"1"), (b"x-a", b"\xff"), (b"cookie", b"s=t")))


def _http(ask: Ask = ASK, *, raw: bool, pseudo: bool = True) -> Any:
    payload = check_request(ask, b"a.test", raw=raw, pseudo=pseudo)
    return external_auth_pb2.CheckRequest.FromString(payload).attributes.request.http


def test_raw_headers_keep_duplicates_and_bytes() -> None:
    http = _http(raw=True)
    assert [(each.key, each.raw_value) for each in http.header_map.headers][4:6] == [
        ("x-a", b"1"),
        ("x-a", b"\xff"),
    ]
    assert not http.headers
    assert (http.method, http.path, http.host, http.scheme) == ("GET", "/a?k=v&x=y", "a.test", "http")


def test_joined_headers_are_one_text_each() -> None:
    http = _http(raw=False)
    assert http.headers["x-a"] == "1,!"
    assert http.headers[":path"] == "/a?k=v&x=y"
    assert not http.header_map.headers
    assert ":path" not in _http(raw=False, pseudo=False).headers


@pytest.mark.parametrize("value", [b"", b"abc", b"caf\xe9", b"\xff\xfea\xc3", "é".encode()])
def test_bytes_become_text_as_envoy_makes_it(value: bytes) -> None:
    assert legible(value) == sanitised(value)


def _response(**fields: Any) -> bytes:
    return bytes(external_auth_pb2.CheckResponse(**fields).SerializeToString())


def test_an_empty_answer_is_a_yes() -> None:
    answer = read_answer(b"", ASK, b"a.test")
    assert answer.verdict is Verdict.ALLOWED
    assert "empty" in answer.note


def test_an_allow_shows_what_the_upstream_would_get() -> None:
    response = external_auth_pb2.CheckResponse()
    ok = response.ok_response
    header = ok.headers.add()
    header.header.key, header.header.value = "x-a", "ours"
    more = ok.headers.add()
    more.header.key, more.header.value, more.append.value = "x-b", "more", True
    ok.headers_to_remove.append("Cookie")
    ok.query_parameters_to_remove.append("k")
    (seen,) = read_answer(response.SerializeToString(), ASK, b"a.test").seen
    assert (seen.path, seen.headers) == (b"/a?x=y", ((b"x-a", b"ours"), (b"x-b", b"more")))


def test_a_query_whose_only_parameter_is_removed_is_gone() -> None:
    response = external_auth_pb2.CheckResponse()
    response.ok_response.query_parameters_to_remove.append("k")
    (seen,) = read_answer(response.SerializeToString(), Ask(b"/a?k=v"), b"a.test").seen
    assert seen.path == b"/a"
    (seen,) = read_answer(response.SerializeToString(), Ask(b"/a"), b"a.test").seen
    assert seen.path == b"/a"


def test_a_refusal_is_read_with_envoys_defaults() -> None:
    answer = read_answer(_response(status={"code": 7}), ASK, b"a.test")
    assert (answer.verdict, answer.status) == (Verdict.REFUSED, 403)
    response = external_auth_pb2.CheckResponse()
    response.status.code = 16
    response.denied_response.status.code = 401
    response.denied_response.body = "no"
    header = response.denied_response.headers.add()
    header.header.key, header.header.raw_value = "X-Why", b"\xe9"
    answer = read_answer(response.SerializeToString(), None, b"a.test")
    assert (answer.status, answer.headers, answer.body) == (401, (("x-why", "é"),), b"no")


def test_an_answer_that_envoy_counts_as_an_error_is_no_refusal() -> None:
    assert read_answer(b"\xff\xff", ASK, b"a.test").verdict is Verdict.FAILED
    response = external_auth_pb2.CheckResponse()
    response.status.code = 7
    response.error_response.SetInParent()
    assert read_answer(response.SerializeToString(), ASK, b"a.test").verdict is Verdict.FAILED

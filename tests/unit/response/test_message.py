"""CheckResponse messages: explicit in every field that Envoy would otherwise guess."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2
from hypothesis import assume, given
from hypothesis import strategies as st

from authz.model.reason import Code
from authz.response import message

_NAMES = st.sampled_from(["x-a", "x-b", "x-c"])
_VALUES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=5)
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=3).map(tuple)
_REMOVED = st.lists(st.sampled_from(["x-a", "x-b", "x-api-key", "X-A"]), max_size=3).map(tuple)
_ALLOWS = st.tuples(_HEADERS, _REMOVED)


def read(payload: bytes) -> Any:
    return external_auth_pb2.CheckResponse.FromString(payload)


def test_an_allow_with_nothing_is_not_empty() -> None:
    payload = message.allow((), ())
    assert payload != b""
    assert read(payload).HasField("status")
    assert read(payload).HasField("ok_response")
    assert read(payload).status.code == Code.OK


@given(_HEADERS, _REMOVED, st.lists(st.text("abc%"), max_size=2).map(tuple))
def test_every_header_of_an_allow_overwrites_explicitly(
    headers: message.Headers, removed: tuple[str, ...], query: tuple[str, ...]
) -> None:
    answer = read(message.allow(headers, removed, query)).ok_response
    assert tuple((each.header.key, each.header.value) for each in answer.headers) == headers
    for option in answer.headers:
        assert option.HasField("append")
        assert option.append.value is False
        assert option.append_action == base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    assert tuple(answer.query_parameters_to_remove) == query


@given(_HEADERS, _REMOVED)
def test_no_header_is_both_set_and_removed_in_any_case(
    headers: message.Headers, removed: tuple[str, ...]
) -> None:
    answer = read(message.allow(headers, removed)).ok_response
    names = {name for name, _ in headers}
    assert names.isdisjoint(name.lower() for name in answer.headers_to_remove)
    assert set(answer.headers_to_remove) == {name for name in removed if name.lower() not in names}


@given(_HEADERS, _REMOVED, _HEADERS)
def test_what_a_client_is_told_may_follow_any_allow(
    headers: message.Headers, removed: tuple[str, ...], told: message.Headers
) -> None:
    alone = message.allow(headers, removed)
    answer = read(alone + message.for_client(told))
    assert [(each.header.key, each.header.value) for each in answer.ok_response.response_headers_to_add] == [
        *told
    ]
    for option in answer.ok_response.response_headers_to_add:
        assert option.append.value is False
        assert option.append_action == base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    answer.ok_response.ClearField("response_headers_to_add")
    assert answer == read(alone)


@pytest.mark.parametrize("bad", ["\r", "\n", "\0", "a\r\nset-cookie: x=y", "a\n"])
@pytest.mark.parametrize(
    "build", [lambda h: message.allow(h, ()), lambda h: message.deny(403, Code.OK, h, ""), message.for_client]
)
def test_a_value_that_would_end_the_header_is_refused(build: Any, bad: str) -> None:
    with pytest.raises(ValueError, match="the value of `x-a` holds a line break or NUL"):
        build((("x-a", bad),))


@given(st.sampled_from(list(Code)), st.sampled_from([302, 400, 401, 403, 429, 503]), _HEADERS)
def test_a_refusal_never_reads_as_an_allow(code: Code, status: int, headers: message.Headers) -> None:
    answer = read(message.deny(status, code, headers, "no"))
    assert answer.status.code != 0
    assert answer.WhichOneof("http_response") == "denied_response"
    assert answer.denied_response.status.code == status
    assert answer.denied_response.body == "no"
    assert all(option.HasField("append") for option in answer.denied_response.headers)


@given(_ALLOWS, _ALLOWS)
def test_two_different_allows_never_share_bytes_in_the_cache(one: Any, other: Any) -> None:
    assume(one != other)
    for headers, removed in (one, other, one):
        assert message.cached_allow(headers, removed) == message.allow(headers, removed)


def test_the_cache_is_bounded() -> None:
    assert message.cached_allow.cache_info().maxsize == 8192
    assert message._for_client.cache_info().maxsize == 4096

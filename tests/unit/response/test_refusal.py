"""What a refused client is told: for every reason, every detail, every Site."""

from __future__ import annotations

import json
from itertools import product
from typing import Any, get_args
from urllib.parse import parse_qs, urlsplit

import pytest
from envoy.service.auth.v3 import external_auth_pb2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from authz.model.decision import Deny
from authz.model.limit import Rate, Spent, Store
from authz.model.reason import Coarse, Code, Detail, Reason, coarse_of, status_of
from authz.model.request import Request, Unreadable
from authz.model.site import DEFAULT_SITE, Redirect, Refusal, Site
from authz.response import limits, message, refusal
from authz.response.message import ID_PLACEHOLDER
from authz.response.refusal import Refused, Refuser
from tests.support.requests import request

ID = "0190e2c0-1111-7222-8333-444455556666"
REFUSALS = [reason for reason in Reason if reason is not Reason.ALLOWED]
BROWSER = {"accept": "text/html,application/xhtml+xml"}
LOGIN = Site(refusals={Coarse.UNAUTHENTICATED: Refusal(Redirect("https://login.example.com/start", "next"))})
FULL = Site(full_reasons=True)


def refuse(
    deny: Deny | Reason,
    asked: Request | Unreadable | None = None,
    site: Site = DEFAULT_SITE,
    decision_id: str = ID,
    **more: Any,
) -> Refused:
    named = deny if isinstance(deny, Deny) else Deny(deny)
    return Refuser("sidecar-1").refuse(named, asked or request(), site, decision_id, **more)


def read(refused: Refused) -> Any:
    return external_auth_pb2.CheckResponse.FromString(refused.body)


def headers(refused: Refused) -> dict[str, str]:
    return {option.header.key: option.header.value for option in read(refused).denied_response.headers}


def spent(
    limit: str = "l", *, passed: bool = False, retry_ms: int = 1500, full_s: int = 9, rate: Rate | None = None
) -> Spent:
    return Spent(limit, passed, 4, retry_ms, full_s, rate or Rate(100.0, 200.0), Store.MEMORY)


# --- every reason


@pytest.mark.parametrize(("reason", "detail"), list(product(REFUSALS, [None, *Detail])))
@pytest.mark.parametrize("grpc", [False, True])
@pytest.mark.parametrize("site", [DEFAULT_SITE, FULL, LOGIN])
def test_every_refusal_is_whole(reason: Reason, detail: Detail | None, grpc: bool, site: Site) -> None:
    browsing = request(headers=BROWSER, grpc=grpc)
    for asked in (browsing, Unreadable(detail or Detail.UNDECODABLE, grpc=grpc)):
        refused = refuse(Deny(reason, detail), asked, site)
        answer = read(refused)
        redirected = site is LOGIN and asked is browsing and not grpc and status_of(reason) == 401
        assert refused.status == (302 if redirected else status_of(reason, detail))
        assert refused.status >= 400 or redirected
        assert answer.status.code != 0
        assert answer.denied_response.status.code == refused.status
        assert ID in answer.denied_response.body
        assert headers(refused)["x-authz-decision-id"] == ID
        assert ID_PLACEHOLDER.encode() not in refused.body


_CODES = {302: 16, 400: 3, 401: 16, 403: 7, 405: 3, 413: 3, 414: 3, 421: 3, 429: 8, 431: 3, 503: 14}


@pytest.mark.parametrize(("reason", "detail"), list(product(REFUSALS, [None, *Detail])))
def test_the_code_goes_with_the_status(reason: Reason, detail: Detail | None) -> None:
    refused = refuse(Deny(reason, detail))
    assert read(refused).status.code == _CODES[refused.status]
    assert Code(read(refused).status.code) is not Code.OK


@pytest.mark.parametrize("reason", REFUSALS)
def test_the_client_is_told_the_coarse_reason_unless_the_site_says_full(reason: Reason) -> None:
    for site, told in ((DEFAULT_SITE, coarse_of(reason).value), (FULL, reason.value)):
        refused = refuse(reason, site=site)
        assert headers(refused)["x-authz-reason"] == told
        assert json.loads(read(refused).denied_response.body)["reason"] == told


def test_a_detail_never_reaches_the_client() -> None:
    for detail in Detail:
        for reason in (Reason.CREDENTIAL_INVALID, Reason.NOT_PERMITTED, Reason.RULE_ERROR):
            assert refuse(Deny(reason, detail), site=FULL).body == refuse(reason, site=FULL).body


def test_all_causes_of_one_told_reason_are_alike() -> None:
    causes = (Reason.CREDENTIAL_MISSING, Reason.CREDENTIAL_INVALID, Reason.CREDENTIAL_AMBIGUOUS)
    assert len({refuse(reason, challenge="ApiKey").body for reason in causes}) == 1


def test_the_problem_document_is_that_of_rfc_9457() -> None:
    refused = refuse(Reason.NOT_PERMITTED)
    assert headers(refused)["content-type"] == "application/problem+json"
    assert json.loads(read(refused).denied_response.body) == {
        "type": "about:blank",
        "title": "Forbidden",
        "status": 403,
        "reason": "forbidden",
        "decision_id": ID,
        "sidecar": "sidecar-1",
    }


def test_a_grpc_caller_gets_one_line_of_text() -> None:
    refused = refuse(Reason.NOT_PERMITTED, request(grpc=True))
    body = read(refused).denied_response.body
    assert body == f"forbidden: Forbidden, decision {ID}"
    assert "content-type" not in headers(refused)


def test_the_challenge_is_for_401_alone() -> None:
    assert headers(refuse(Reason.CREDENTIAL_MISSING, challenge="ApiKey"))["www-authenticate"] == "ApiKey"
    assert "www-authenticate" not in headers(refuse(Reason.CREDENTIAL_MISSING))
    assert "www-authenticate" not in headers(refuse(Reason.NOT_PERMITTED, challenge="ApiKey"))


def test_a_site_adds_its_headers_to_the_refusals_that_it_names() -> None:
    site = Site(refusals={Coarse.FORBIDDEN: Refusal(headers=(("cache-control", "no-store"),))})
    assert headers(refuse(Reason.DENIED_BY_RULE, site=site))["cache-control"] == "no-store"
    assert "cache-control" not in headers(refuse(Reason.CREDENTIAL_MISSING, site=site))


def test_an_id_of_another_length_is_a_bug_and_never_a_broken_message() -> None:
    with pytest.raises(ValueError, match="another length"):
        refuse(Reason.NOT_PERMITTED, decision_id="short")


# --- redirects


@pytest.mark.parametrize(
    ("asked", "redirected"),
    [
        (request(headers=BROWSER), True),
        (request("HEAD", headers=BROWSER), True),
        (request("POST", headers=BROWSER), False),
        (request(headers={"accept": "application/json"}), False),
        (request(headers={"accept": "*/*"}), False),
        (request(), False),
        (request(headers=BROWSER, grpc=True), False),
        (Unreadable(Detail.PATH_AMBIGUOUS), False),
    ],
)
def test_only_browsers_are_sent_elsewhere(asked: Request | Unreadable, redirected: bool) -> None:
    refused = refuse(Reason.CREDENTIAL_MISSING, asked, LOGIN, challenge="ApiKey")
    assert (refused.status == 302) is redirected
    assert ("location" in headers(refused)) is redirected
    assert ("www-authenticate" in headers(refused)) is not redirected


def test_a_redirect_tells_the_reason_and_keeps_the_code() -> None:
    refused = refuse(Reason.CREDENTIAL_INVALID, request(headers=BROWSER), LOGIN)
    assert headers(refused)["x-authz-reason"] == "unauthenticated"
    assert read(refused).status.code == Code.UNAUTHENTICATED


def location(
    path: str, *, to: str = "https://l.example.com/", back: str = "next", hidden: tuple[str, ...] = ()
) -> str:
    site = Site(refusals={Coarse.UNAUTHENTICATED: Refusal(Redirect(to, back))})
    asked = request(path=path, headers=BROWSER)
    refused = refuse(Reason.CREDENTIAL_MISSING, asked, site, credential_parameters=hidden)
    return headers(refused)["location"]


def test_the_way_back_is_the_whole_url_encoded() -> None:
    found = location("/a%2Fb?x=1&y=%26")
    assert found == (
        "https://l.example.com/?next=https%3A%2F%2Fitems.example.com%2Fa%252Fb%3Fx%3D1%26y%3D%2526"
    )
    assert parse_qs(urlsplit(found).query)["next"] == ["https://items.example.com/a%2Fb?x=1&y=%26"]


def test_a_login_page_may_have_a_query_or_want_no_way_back() -> None:
    assert location("/", to="https://l.example.com/?a=b").startswith(
        "https://l.example.com/?a=b&next=https%3A"
    )
    assert location("/a", back="") == "https://l.example.com/"


@pytest.mark.parametrize("spelled", ["key", "%6Bey", "k%65y", "%6b%65%79"])
def test_no_credential_is_carried_on_however_it_is_spelled(spelled: str) -> None:
    found = location(f"/?a=1&{spelled}=SECRET&b=2&{spelled}", hidden=("key",))
    assert "SECRET" not in found
    assert parse_qs(urlsplit(found).query)["next"] == ["https://items.example.com/?a=1&b=2"]


def test_a_query_of_nothing_but_a_credential_leaves_no_question_mark() -> None:
    found = location("/?key=SECRET", hidden=("key",))
    assert parse_qs(urlsplit(found).query)["next"] == ["https://items.example.com/"]


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_no_query_breaks_out_of_the_location(query: str) -> None:
    found = location("/?" + query)
    assert found.isascii()
    assert not set(found) & set('\r\n\0 "<>')
    assert found.startswith("https://l.example.com/?next=https%3A%2F%2Fitems.example.com%2F")


def test_a_url_that_is_too_long_is_not_carried_on() -> None:
    assert location("/?" + "a" * 9000) == "https://l.example.com/"


# --- limits


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=3), st.integers(0, 0xFFFF))
def test_a_client_is_never_told_to_come_back_too_early(waits: list[int], dice: int) -> None:
    states = tuple(spent(f"l{n}", retry_ms=wait) for n, wait in enumerate(waits))
    refused = refuse(Deny(Reason.RATE_LIMITED, spent=states), decision_id=f"{ID[:-4]}{dice:04x}")
    told_s = int(headers(refused)["retry-after"])
    assert told_s * 1000 >= max(waits)
    assert told_s <= (max(waits) / 1000 + 1) * 1.1


def test_clients_are_spread_over_a_tenth() -> None:
    deny = Deny(Reason.RATE_LIMITED, spent=(spent(retry_ms=100_000),))
    told = {headers(refuse(deny, decision_id=f"{ID[:-4]}{dice:04x}"))["retry-after"] for dice in range(30)}
    assert told == {str(100 + more) for more in range(11)}


def test_a_guard_says_how_long_and_nothing_of_limits() -> None:
    told = headers(refuse(Deny(Reason.GUARDED, retry_ms=1001)))
    assert told["retry-after"] == "2"
    assert not {"ratelimit", "ratelimit-policy", "www-authenticate"} & set(told)


def test_where_no_waiting_helps_none_is_asked_for() -> None:
    states = (spent(retry_ms=-1), spent("m", retry_ms=1000))
    refused = refuse(Deny(Reason.RATE_LIMITED, Detail.COST_EXCEEDS_BURST, spent=states))
    assert "retry-after" not in headers(refused)
    assert "ratelimit" in headers(refused)


def test_only_buckets_that_were_empty_are_waited_for() -> None:
    states = (spent(retry_ms=2000), spent("m", passed=True, retry_ms=0))
    assert headers(refuse(Deny(Reason.RATE_LIMITED, spent=states)))["retry-after"] == "2"


def test_limit_headers_can_be_switched_off_and_waiting_not() -> None:
    """Then no limit is named anywhere: an operator who hides what limits there are hides their names."""
    deny = Deny(Reason.RATE_LIMITED, spent=(spent("per-key"),))
    for grpc in (False, True):
        refused = Refuser("s", "off").refuse(deny, request(grpc=grpc), DEFAULT_SITE, ID)
        content = "grpc-status" if grpc else "content-type"
        assert set(headers(refused)) == {"x-authz-reason", "x-authz-decision-id", "retry-after", content}
        assert b"per-key" not in refused.body


def test_the_body_names_the_limits_that_refused_and_no_other() -> None:
    states = (spent("roomy", passed=True, retry_ms=0), spent("soon", retry_ms=10), spent("late", retry_ms=99))
    deny = Deny(Reason.RATE_LIMITED, spent=states)
    told = json.loads(read(refuse(deny)).denied_response.body)
    assert told["limits"] == ["late", "soon"]
    line = read(refuse(deny, request(grpc=True))).denied_response.body
    assert line == f"limited: Too Many Requests, by late and soon, decision {ID}"


@pytest.mark.parametrize("form", get_args(limits.Form))
def test_no_more_limits_are_told_than_a_client_can_use(form: limits.Form) -> None:
    deny = Deny(Reason.RATE_LIMITED, spent=tuple(spent(f"{n:0>63}") for n in range(500)))
    for grpc in (False, True):
        refused = Refuser("s", form).refuse(deny, request(grpc=grpc), DEFAULT_SITE, ID)
        assert len(refused.body) < 8192


@pytest.mark.parametrize("reason", [reason for reason in REFUSALS if reason is not Reason.RATE_LIMITED])
def test_only_refusals_by_limits_name_limits(reason: Reason) -> None:
    """Of a store that is out of order clients learn nothing: that is no limit's doing."""
    states = (spent("per-key")._replace(failed=True), spent("per-customer", passed=True, retry_ms=0))
    for grpc in (False, True):
        told = refuse(Deny(reason, spent=states), request(grpc=grpc)).body
        assert b"per-key" not in told
        assert b"per-customer" not in told


@pytest.mark.parametrize("reason", [reason for reason in REFUSALS if status_of(reason) == 503])
def test_no_503_says_when_to_come_back_since_nobody_knows(reason: Reason) -> None:
    states = (spent("per-key", retry_ms=5000)._replace(failed=True),)
    assert "retry-after" not in headers(refuse(Deny(reason, spent=states)))


# --- what passes


def test_who_passes_is_told_only_where_that_is_asked_for() -> None:
    assert not Refuser("s").on_allow
    assert Refuser("s", on_allow=True).on_allow
    assert not Refuser("s", "off", on_allow=True).on_allow


def test_what_a_client_that_passes_is_told_goes_behind_its_allow() -> None:
    states = (spent("per-key", passed=True, retry_ms=0),)
    told = Refuser("s", on_allow=True).passed(states)
    kept = message.allow((("x-a", "1"),), ("x-b",))
    answer = external_auth_pb2.CheckResponse.FromString(kept + told)
    assert answer.status.code == Code.OK
    assert [option.header.key for option in answer.ok_response.headers] == ["x-a"]
    assert list(answer.ok_response.headers_to_remove) == ["x-b"]
    found = [(o.header.key, o.header.value) for o in answer.ok_response.response_headers_to_add]
    assert found == list(limits.headers_in("draft", states))


def test_where_limits_are_switched_off_there_is_nothing_to_tell() -> None:
    states = (spent("per-key", passed=True, retry_ms=0)._replace(store=Store.OFF),)
    assert Refuser("s", on_allow=True).passed(states) == b""


def test_the_state_of_buckets_is_told_by_refusals_of_limits_alone() -> None:
    assert "ratelimit" not in headers(refuse(Deny(Reason.NOT_PERMITTED, spent=(spent(),))))


# --- the cache of templates

_SITES = st.sampled_from(
    [
        DEFAULT_SITE,
        FULL,
        Site(refusals={Coarse.FORBIDDEN: Refusal(headers=(("x-a", "1"),))}),
        Site(refusals={Coarse.FORBIDDEN: Refusal(headers=(("x-a", "2"),))}),
    ]
)
_ASKED = st.tuples(
    st.sampled_from(REFUSALS),
    st.sampled_from([None, *Detail]),
    _SITES,
    st.booleans(),
    st.sampled_from(["", "ApiKey", "Bearer"]),
    st.sampled_from(["s-1", "s-2"]),
)


@settings(max_examples=200)
@given(_ASKED)
def test_what_is_cached_is_what_would_be_built(asked: Any) -> None:
    reason, detail, site, grpc, challenge, sidecar = asked
    deny, of = Deny(reason, detail), request(grpc=grpc)
    cached = Refuser(sidecar).refuse(deny, of, site, ID, challenge)
    refusal._cached_template.cache_clear()
    assert Refuser(sidecar).refuse(deny, of, site, ID, challenge) == cached


def test_the_cache_is_bounded_and_not_filled_by_clients() -> None:
    info = refusal._cached_template.cache_info
    assert info().maxsize == 1024
    before = info().currsize
    for number in range(20):
        refuse(Reason.CREDENTIAL_MISSING, request(path=f"/{number}", headers=BROWSER), LOGIN)
    assert info().currsize == before
    for number in range(2000):
        refuse(Deny(Reason.RATE_LIMITED, spent=(spent(retry_ms=number * 1000 + 1),)))
    assert info().currsize == 1024


def test_one_answer_of_a_limit_is_made_once() -> None:
    made = refusal._cached_template.cache_info().misses
    for _ in range(5):
        refuse(Deny(Reason.RATE_LIMITED, spent=(spent(retry_ms=7_654_321),)))
    assert refusal._cached_template.cache_info().misses == made + 1


def test_a_placeholder_in_a_clients_url_breaks_nothing() -> None:
    refused = refuse(Reason.CREDENTIAL_MISSING, request(path=f"/?{ID_PLACEHOLDER}", headers=BROWSER), LOGIN)
    assert headers(refused)["x-authz-decision-id"] == ID


@given(_ASKED, _ASKED)
@settings(max_examples=50)
def test_ids_are_the_only_difference_of_two_calls(one: Any, other: Any) -> None:
    assume(one == other or one[:3] != other[:3])
    reason, detail, site, grpc, challenge, _ = one
    first, second = (
        refuse(Deny(reason, detail), request(grpc=grpc), site, each, challenge=challenge)
        for each in (ID, ID[::-1])
    )
    assert first.body.replace(ID.encode(), ID[::-1].encode()) == second.body

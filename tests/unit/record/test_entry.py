from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.model.decision import Allow, Deny, Grant, RuleName
from authz.model.identity import ANONYMOUS, Caller, Identity, IdentityKind, Standing
from authz.model.limit import Store
from authz.model.reason import Detail, Reason
from authz.model.request import Unreadable
from authz.model.shadow import Shade, Would
from authz.record.entry import FixedFields, encode
from authz.record.pseudonym import Pseudonyms, pseudonym
from tests.support.answers import (
    ACME,
    DECISION_ID,
    PROVEN,
    allowed,
    answered,
    refused,
    request,
    spent,
    unreadable,
)

FIXED = FixedFields(sidecar="items-1", revision="0123456789ab")
CANARY = "c4n4ry-s3cr3t"
HOSTILE = st.text(st.characters(), max_size=300) | st.sampled_from(
    [
        "\x00" * 50,
        "\r\n",
        "\x1b[2J",
        "\u2028\u2029",
        "\x7f\x9b",
        "\ud800",
        "\udc00\ud800",
        "\\u0041\\",
        '"}',
        "é😀",
    ]
)


def record(line: bytes) -> dict[str, Any]:
    """Read a line as a strict parser does, having checked that it is one line of plain ASCII."""
    assert line.endswith(b"\n")
    assert all(0x20 <= byte <= 0x7E for byte in line[:-1])
    value = json.loads(line)
    assert isinstance(value, dict)
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # no lone surrogate came through
    return value


def test_an_allow_says_who_what_by_which_rule_and_what_is_left() -> None:
    fixed = FIXED._replace(source_revision="4f2a9c1")
    assert list(record(encode(allowed(), fixed, 7)).items()) == [
        ("v", 1),
        ("time", "2026-01-01T00:00:00.123456Z"),
        ("decision_id", DECISION_ID),
        ("request_id", "3f0b8f6a-58d7-4e3c-9f5e-0a1b2c3d4e5f"),
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("sidecar", "items-1"),
        ("seq", 7),
        ("revision", "0123456789ab"),
        ("source_revision", "4f2a9c1"),
        ("outcome", "allow"),
        ("status", 200),
        ("reason", "allowed"),
        ("policy", "items"),
        ("rule", "read"),
        ("allowed_by", ["items/read"]),
        (
            "identity",
            {
                "kind": "api_key",
                "provider": "partner-keys",
                "subject": "k7Qm2VxP0aZs",
                "key_id": "k7Qm2VxP0aZs",
                "customer": "acme",
                "scopes": ["items:read"],
                "labels": {"tier": "gold"},
            },
        ),
        (
            "request",
            {
                "method": "GET",
                "host": "items.example.com",
                "path": "/api/v1/items/5",
                "protocol": "HTTP/1.1",
                "client_address": "203.0.113.7",
                "size": 0,
            },
        ),
        (
            "limits",
            [
                {"name": "per-key", "remaining": 41, "store": "memory", "retry_ms": 0},
                {"name": "per-customer", "remaining": 41, "store": "memory", "retry_ms": 0},
            ],
        ),
        ("duration_us", 25),
    ]


def test_what_does_not_apply_is_absent_and_never_null() -> None:
    line = encode(unreadable(Unreadable(Detail.UNDECODABLE)), FIXED._replace(revision=""), 0)
    assert record(line) == {
        "v": 1,
        "time": "2026-01-01T00:00:00.123456Z",
        "decision_id": DECISION_ID,
        "sidecar": "items-1",
        "seq": 0,
        "outcome": "deny",
        "status": 400,
        "reason": "bad_request",
        "detail": "undecodable",
        "request": {},
        "duration_us": 25,
    }


def test_a_record_that_speaks_for_many_checks_says_for_how_many() -> None:
    many = unreadable(Unreadable(Detail.UNDECODABLE))._replace(checks=57)
    assert record(encode(many, FIXED, 0))["count"] == 57


def test_rules_that_agree_are_all_named_and_the_first_decides() -> None:
    grant = Grant((RuleName("a", "one"), RuleName("b", "two")), (), ())
    entry = record(encode(answered(Allow(grant), request(), PROVEN, 200), FIXED, 1))
    assert (entry["policy"], entry["rule"], entry["allowed_by"]) == ("a", "one", ["a/one", "b/two"])
    assert "limits" not in entry


def test_a_deny_rule_is_named_and_nothing_allowed() -> None:
    deny = Deny(Reason.DENIED_BY_RULE, rule=RuleName("items", "no-legacy"))
    entry = record(encode(answered(deny, request(), PROVEN, 403), FIXED, 1))
    assert (entry["outcome"], entry["policy"], entry["rule"]) == ("deny", "items", "no-legacy")
    assert "allowed_by" not in entry


def test_a_limit_that_refuses_says_when_and_one_that_always_will_does_not() -> None:
    states = (spent("soon", passed=False, retry_ms=70), spent("never", passed=False, retry_ms=-1))
    deny = Deny(Reason.RATE_LIMITED, Detail.COST_EXCEEDS_BURST, spent=states)
    entry = record(encode(answered(deny, request(), PROVEN, 429), FIXED, 1))
    assert entry["detail"] == "cost_exceeds_burst"
    assert entry["limits"] == [
        {"name": "soon", "remaining": 41, "store": "memory", "retry_ms": 70, "refused": "no_room"},
        {"name": "never", "remaining": 41, "store": "memory", "refused": "cost"},
    ]


def test_a_limit_without_its_store_says_so_and_nothing_that_nobody_knows() -> None:
    failed = spent("gone", passed=False)._replace(store=Store.OUTAGE, failed=True)
    rule = RuleName("items", "read")
    deny = Deny(Reason.STORE_UNAVAILABLE, rule=rule, spent=(failed, spent("local")))
    entry = record(encode(answered(deny, request(), PROVEN, 503), FIXED, 1))
    assert (entry["policy"], entry["rule"]) == ("items", "read")
    assert "allowed_by" not in entry
    assert entry["limits"] == [
        {"name": "gone", "store": "outage", "refused": "store"},
        {"name": "local", "remaining": 41, "store": "memory", "retry_ms": 0},
    ]


def test_an_anonymous_caller_is_said_and_an_invalid_one_is_nobody() -> None:
    assert record(encode(refused(), FIXED, 1))["identity"] == {"kind": "anonymous"}
    invalid = Caller(ANONYMOUS, Standing.INVALID, Detail.KEY_EXPIRED)
    entry = record(encode(answered(Deny(Reason.CREDENTIAL_INVALID), request(), invalid, 401), FIXED, 1))
    assert "identity" not in entry
    assert entry["detail"] == "key_expired"


def test_an_invalid_credential_beside_a_rule_for_anyone_leaves_its_cause() -> None:
    invalid = Caller(ANONYMOUS, Standing.INVALID, Detail.KEY_REVOKED)
    entry = record(encode(allowed(caller=invalid), FIXED, 1))
    assert (entry["outcome"], entry["detail"]) == ("allow", "key_revoked")


def test_the_method_is_kept_as_it_was_sent() -> None:
    asked = request()._replace(sent_method="HEAD", size=-1)
    part = record(encode(allowed(asked), FIXED, 1))["request"]
    assert part["method"] == "HEAD"
    assert "size" not in part


def test_only_listed_headers_are_recorded_and_without_queries() -> None:
    headers = {
        "user-agent": b"curl/8\xff",
        "referer": b"https://a.example/x?token=" + CANARY.encode(),
        "x-other": b"no",
    }
    fixed = FIXED._replace(headers=("user-agent", "referer", "x-absent"))
    part = record(encode(allowed(request(headers=headers)), fixed, 1))["request"]
    assert part["headers"] == {"user-agent": "curl/8!", "referer": "https://a.example/x"}


@pytest.mark.parametrize("field", ["sent_method", "host", "path", "protocol", "request_id"])
def test_a_megabyte_in_any_field_is_cut_with_a_marker(field: str) -> None:
    long: dict[str, Any] = {field: "a" * 1_000_000}
    asked = request()._replace(**long)
    line = encode(allowed(asked), FIXED, 1)
    record(line)
    assert len(line) < 3000
    assert b"a...[+" in line
    assert b" characters]" in line


@pytest.mark.parametrize("field", ["method", "host", "path", "protocol", "request_id"])
@pytest.mark.parametrize("text", ["a" * 1_000_000, "\x00" * 1_000_000, "😀" * 1_000_000])
def test_a_megabyte_in_an_unreadable_request_is_cut_with_a_marker(field: str, text: str) -> None:
    long: dict[str, Any] = {field: text}
    line = encode(unreadable(Unreadable(Detail.PATH_INVALID)._replace(**long)), FIXED, 1)
    record(line)
    assert len(line) < 3000
    assert b"...[+" in line


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_is_read_the_record_is_one_line_of_json(
    method: str, host: str, path: str, request_id: str
) -> None:
    asked = request()._replace(
        sent_method=method, host=host, path=path, request_id=request_id, trace_id=request_id
    )
    entry = record(encode(allowed(asked), FIXED, 1))
    if path.isprintable() and path.isascii():
        assert entry["request"].get("path", "") == path


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_whatever_cannot_be_read_the_record_is_one_line_of_json(
    method: str, host: str, path: str, request_id: str
) -> None:
    asked = Unreadable(Detail.PATH_INVALID, method, host, path, protocol=method, request_id=request_id)
    record(encode(unreadable(asked._replace(trace_id=request_id)), FIXED, 1))


@given(st.binary(max_size=200), HOSTILE)
def test_hostile_headers_and_claims_stay_on_the_line(value: bytes, text: str) -> None:
    stranger = Identity(
        kind=IdentityKind.JWT, subject=text, customer=text, scopes=(text,) * 40, labels={text: text}
    )
    fixed = FIXED._replace(headers=("x-note",))
    asked = request(headers={"x-note": value})
    entry = record(encode(allowed(asked, Caller(stranger, Standing.PROVEN)), fixed, 1))
    assert len(entry["identity"]["scopes"]) == 32


@given(st.sampled_from(["?", "#", "%3F", "%3f"]), st.sampled_from(["GET", "", "a b"]))
def test_no_secret_of_a_request_reaches_a_record(cut: str, method: str) -> None:
    headers = {name: CANARY.encode() for name in ("authorization", "cookie", "x-api-key", "x-other")}
    readable = request(headers=headers)._replace(
        query=f"api_key={CANARY}", body=CANARY.encode(), context={"a": CANARY}, strays=(CANARY,)
    )
    claims = Identity(kind=IdentityKind.JWT, subject="s", claims={"email": CANARY})
    broken = Unreadable(
        Detail.HOST_INVALID,
        method=f"{method} /{cut}k={CANARY}",
        host=f"user:{CANARY}@a.example{cut}{CANARY}",
        path=f"http://user:{CANARY}@a.example/x{cut}api_key={CANARY}",
        protocol=f"HTTP/1.1{cut}{CANARY}",
    )
    for check in (allowed(readable), allowed(readable, Caller(claims, Standing.PROVEN)), unreadable(broken)):
        assert CANARY.encode() not in encode(check, FIXED, 1)


def test_equal_identities_of_two_snapshots_do_not_share_their_json() -> None:
    other = Identity(kind=IdentityKind.API_KEY, key_id=ACME.key_id, customer="renamed")
    first = record(encode(allowed(), FIXED, 1))
    second = record(encode(allowed(caller=Caller(other, Standing.PROVEN)), FIXED, 2))
    assert (first["identity"]["customer"], second["identity"]["customer"]) == ("acme", "renamed")


@pytest.mark.parametrize(
    ("time_us", "text"), [(0, "1970-01-01T00:00:00.000000Z"), (1_000_005, "1970-01-01T00:00:01.000005Z")]
)
def test_times_are_padded_and_utc(time_us: int, text: str) -> None:
    assert record(encode(allowed()._replace(time_us=time_us), FIXED, 1))["time"] == text


@pytest.mark.parametrize("cut", [0, 20])
def test_a_token_that_a_client_wrote_elsewhere_is_in_no_record(cut: int) -> None:
    fixed = FIXED._replace(token_prefix=b"ak_live_")
    token = "ak_live_k7Qm2VxP0aZs_" + "S" * (49 - cut)
    asked = request(path=f"/api/{token}/x")._replace(request_id=f"a {token},{token}")
    told = encode(allowed(asked), fixed, 1)
    assert b"SSS" not in told
    assert record(told)["request"]["path"] == "/api/ak_live_k7Qm2VxP0aZs_***/x"
    broken = Unreadable(Detail.PATH_AMBIGUOUS, method=token, host=token, path=f"//{token}", request_id=token)
    assert b"SSS" not in encode(unreadable(broken), fixed, 1)


@pytest.mark.parametrize(
    "token",
    [
        "k_live_k7Qm2VxP0aZs_" + "S" * 49,
        "ak-live-k7Qm2VxP0aZs_" + "S" * 43,
        "k7Qm2VxP0aZs_" + "S" * 30,
        "s" + "S" * 42,
        "Zs_" + "Ss" * 25,
    ],
)
def test_a_token_without_its_brand_and_a_secret_alone_are_in_no_record(token: str) -> None:
    asked = request(path=f"/api/{token}/x")._replace(
        request_id=f"a {token}", host="a.k7qm2vxp0azs_" + "s" * 43
    )
    told = encode(allowed(asked), FIXED, 1)
    assert b"sss" not in told.lower()
    assert record(told)["request"]["path"].endswith("***/x")


@pytest.mark.parametrize("underscore", ["%5F", "%5f", "%255F", "%25255F"])
def test_a_token_in_escapes_is_in_no_record(underscore: str) -> None:
    token = f"ak_live_k7Qm2VxP0aZs{underscore}" + "%53" * 43
    for broken in (
        Unreadable(Detail.PATH_AMBIGUOUS, path=f"/api/{token}"),
        Unreadable(Detail.HOST_INVALID, host=token),
        Unreadable(Detail.METHOD_INVALID, method=token, protocol=token, request_id=token),
    ):
        told = encode(unreadable(broken), FIXED, 1)
        assert b"SSS" not in told
        assert b"%53%53" not in told


@pytest.mark.parametrize(
    "path",
    [
        "/a_b/c",
        "/" + "a" * 50,
        "/orders/7/items/of-an-ordinary-length/and-more",
        "/blobs/" + "0123456789abcdef" * 4,
        "/my_very_long_snake_case_name/x",
    ],
)
def test_paths_that_hold_no_token_are_recorded_as_they_are(path: str) -> None:
    assert record(encode(allowed(request(path=path)), FIXED, 1))["request"]["path"] == path


def shade(policy: str = "next", **fields: Any) -> Shade:
    return Shade(**{"would": Would.DENY, "policy": policy, "rule": "no", **fields})


def test_what_is_in_shadow_stands_beside_what_allowed() -> None:
    limit = Shade(Would.ALLOW, limit="tried", spent=spent("tried"))
    failed = Shade(Would.ERROR, "next", "no", detail=Detail.RULE_ERROR)
    found = record(encode(allowed()._replace(shadow=(shade(changes=True), limit, failed)), FIXED, 1))
    assert found["shadow"] == [
        {"policy": "next", "rule": "no", "outcome": "deny", "changes": True},
        {"limit": "tried", "outcome": "allow", "remaining": 41, "retry_ms": 0, "store": "memory"},
        {"policy": "next", "rule": "no", "outcome": "error", "detail": "rule_error"},
    ]
    assert list(found)[list(found).index("shadow") - 1] == "allowed_by"
    assert "shadow_omitted" not in found


def test_a_limit_that_no_waiting_helps_names_no_time() -> None:
    never = Shade(Would.DENY, limit="tried", spent=spent("tried", passed=False, retry_ms=-1))
    (found,) = record(encode(allowed()._replace(shadow=(never,)), FIXED, 1))["shadow"]
    assert found == {"limit": "tried", "outcome": "deny", "remaining": 41, "store": "memory"}


def test_of_too_many_in_shadow_those_that_change_something_stay() -> None:
    many = tuple(shade(f"p{number}", changes=number >= 90) for number in range(100))
    found = record(encode(allowed()._replace(shadow=many), FIXED, 1))
    assert len(found["shadow"]) == 16
    assert found["shadow_omitted"] == 84
    assert sum(one.get("changes", False) for one in found["shadow"]) == 10


def test_where_nothing_is_in_shadow_the_record_does_not_say_so() -> None:
    assert not {"shadow", "shadow_omitted"} & set(record(encode(allowed(), FIXED, 1)))


def test_what_follows_an_escaped_question_mark_is_in_no_record() -> None:
    told = encode(allowed(request(path="/reset%3Ftoken=CANARY")), FIXED, 1)
    assert record(told)["request"]["path"] == "/reset"


SECRET = b"0123456789abcdef0123456789abcdef"
HIDDEN = FIXED._replace(
    pseudonyms=Pseudonyms(SECRET, ["subject", "key_id", "customer", "client_address"]),
    token_prefix=b"ak_live_",
)


def test_who_asked_stands_in_a_record_as_pseudonyms() -> None:
    made = record(encode(allowed(), HIDDEN, 1))
    assert made["identity"] == {
        "kind": "api_key",
        "provider": "partner-keys",
        "subject": pseudonym(SECRET, "subject", "k7Qm2VxP0aZs"),
        "key_id": pseudonym(SECRET, "key_id", "k7Qm2VxP0aZs"),
        "customer": pseudonym(SECRET, "customer", "acme"),
        "scopes": ["items:read"],
        "labels": {"tier": "gold"},
    }
    address = record(encode(allowed(), FIXED, 1))["request"]["client_address"]
    assert made["request"]["client_address"] == pseudonym(SECRET, "client_address", address)


def test_with_pseudonyms_the_same_identity_is_still_told_plainly_elsewhere() -> None:
    encode(allowed(), HIDDEN, 1)
    assert record(encode(allowed(), FIXED, 2))["identity"]["customer"] == "acme"


def test_what_could_not_be_read_hides_the_address_too() -> None:
    asked = Unreadable(Detail.PATH_AMBIGUOUS, "GET", "a", "/x", "HTTP/1.1", client=request().client)
    line = encode(unreadable(asked), HIDDEN, 1)
    assert asked.client.address.encode() not in line
    assert record(line)["request"]["client_address"].startswith("p:")


def test_where_key_ids_are_hidden_a_token_in_a_path_shows_none() -> None:
    token = "ak_live_k7Qm2VxP0aZs_" + "Ab1" * 16
    asked = request(path=f"/x/{token}/y")
    plain, hidden = (
        encode(answered(Deny(Reason.NOT_PERMITTED), asked, PROVEN, 403), fixed, 1)
        for fixed in (FIXED._replace(token_prefix=b"ak_live_"), HIDDEN)
    )
    assert record(plain)["request"]["path"] == "/x/ak_live_k7Qm2VxP0aZs_***/y"
    assert record(hidden)["request"]["path"] == "/x/ak_live_***/y"
    assert b"k7Qm2VxP0aZs" not in hidden

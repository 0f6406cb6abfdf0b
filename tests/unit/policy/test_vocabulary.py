"""Every variable of a condition: its type, and how it is read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from authz.model.identity import Identity, IdentityKind
from authz.model.request import NOWHERE
from authz.policy.condition import EvaluationFailed, Truth
from authz.policy.vocabulary import VOCABULARY, CelType, nearest
from tests.support.facts import COMPILER, condition, facts, token
from tests.support.requests import request

_TYPES: dict[CelType, tuple[type, ...]] = {
    CelType.STRING: (str,),
    CelType.INT: (int,),
    CelType.BOOL: (bool,),
    CelType.BYTES: (bytearray,),
    CelType.TIMESTAMP: (datetime,),
    CelType.TEXTS: (list,),
    CelType.TEXT_MAP: (dict,),
    CelType.TEXTS_MAP: (dict,),
    CelType.DYN_MAP: (dict,),
}
# Section 4 of the contract, word for word.
_CONTRACT = {
    "request": "method scheme host url_path segments query headers header_values protocol id time size body",
    "client": "address network port",
    "peer": "principal",
    "identity": "kind provider subject key_id customer scopes labels claims anonymous",
}


def read(name: str, **parts: Any) -> object:
    return VOCABULARY[name].read(facts(**parts))


def test_the_vocabulary_is_that_of_the_contract() -> None:
    dotted = {f"{room}.{name}" for room, names in _CONTRACT.items() for name in names.split()}
    assert set(VOCABULARY) == dotted | {"params", "context", "metadata"}


@pytest.mark.parametrize("name", sorted(VOCABULARY))
def test_a_variable_has_the_type_that_it_says_and_words(name: str) -> None:
    variable = VOCABULARY[name]
    for asked in (facts(), facts(token({"a": 1}), {"id": "7"}, path="/a?b=c", headers={"x": "1"})):
        assert isinstance(variable.read(asked), _TYPES[variable.type])
    assert variable.doc.endswith(".")


@pytest.mark.parametrize("name", sorted(VOCABULARY))
def test_a_variable_can_be_bound_where_there_is_nothing(name: str) -> None:
    asked = facts(client=NOWHERE)
    assert condition(f"{name} == {name}").holds(asked) is Truth.YES


def test_the_request_is_read_in_canonical_form() -> None:
    parts = {"method": "HEAD", "path": "/a%20b/c%2Fd?x=1", "scheme": "https"}
    assert read("request.method", **parts) == "GET"
    assert read("request.url_path", **parts) == "/a%20b/c%2Fd"
    assert read("request.segments", **parts) == ["a b", "c/d"]
    assert read("request.scheme", **parts) == "https"


def test_a_query_is_decoded_name_by_name_in_order() -> None:
    path = "/?b=2&a=1&b=%33&%62=4&c&=x&&d=%zz&e=a+b&f=1=2"
    assert read("request.query", path=path) == {
        "b": ["2", "3", "4"],
        "a": ["1"],
        "c": [""],
        "": ["x"],
        "d": ["%zz"],
        "e": ["a+b"],
        "f": ["1=2"],
    }


def test_headers_are_text_with_bad_bytes_as_bangs() -> None:
    headers: dict[str, str | bytes] = {"x": b"a\xff\xfe, b", "y": "ä", "z": ""}
    assert read("request.headers", headers=headers) == {"x": "a!!, b", "y": "ä", "z": ""}
    assert read("request.header_values", headers=headers) == {"x": ["a!!", "b"], "y": ["ä"], "z": [""]}


def test_header_values_defeat_what_a_comparison_misses() -> None:
    asked = facts(headers={"x-group": "blocked,x"})
    assert condition('request.headers["x-group"] == "blocked"').holds(asked) is Truth.NO
    assert condition('"blocked" in request.header_values["x-group"]').holds(asked) is Truth.YES


def test_captures_are_decoded_once() -> None:
    captured = facts(params={"a": "x%2520y", "b": "%C3%A4"})
    assert VOCABULARY["params"].read(captured) == {"a": "x%20y", "b": "ä"}


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ('request.query.role == ["user"]', "/?role=user%00admin"),
        ('"role" in request.query', "/?role%00x=1"),
        ('request.query.role != ["user"]', "/?other=%00&role=user"),
    ],
)
def test_a_query_with_nul_is_an_error_since_the_library_would_cut_it(source: str, path: str) -> None:
    assert condition(source).holds(facts(path=path)) is Truth.FAILED
    assert condition('request.query.role == ["a%00"]').holds(facts(path="/?role=a%2500")) is Truth.YES


@pytest.mark.parametrize(
    "claims", [{"a": "x\0y"}, {"a": ["x\0y"]}, {"a": {"x\0y": 1}}, {"b": ("x\0",)}, {"x\0": 1}]
)
def test_a_claim_with_nul_is_an_error(claims: dict[str, object]) -> None:
    assert condition('identity.claims.a == "x"').holds(facts(token(claims))) is Truth.FAILED


def test_what_envoy_adds_is_cut_nowhere() -> None:
    assert condition('context.a == "x"').holds(facts(context={"a": "x\0y"})) is Truth.FAILED
    assert condition('metadata.a == "x"').holds(facts(metadata={"a": "x\0y"})) is Truth.FAILED
    assert condition('peer.principal == "x"').holds(facts(principal="x\0y")) is Truth.FAILED
    with pytest.raises(EvaluationFailed):
        COMPILER.text("peer.principal").text(facts(principal="x\0y"))


def test_a_body_with_nul_is_whole() -> None:
    assert (
        condition("request.body == b'a\\x00b' && size(request.body) == 3").holds(facts(body=b"a\0b"))
        is Truth.YES
    )


def test_the_time_is_envoys() -> None:
    assert read("request.time", time_us=1_780_000_000_123_456) == datetime(
        2026, 5, 28, 20, 26, 40, 123456, tzinfo=UTC
    )


def test_nobody_has_empty_attributes() -> None:
    asked = facts()
    found = {name: variable.read(asked) for name, variable in VOCABULARY.items() if "identity." in name}
    assert found == {
        "identity.kind": "anonymous",
        "identity.provider": "",
        "identity.subject": "",
        "identity.key_id": "",
        "identity.customer": "",
        "identity.scopes": [],
        "identity.labels": {},
        "identity.claims": {},
        "identity.anonymous": True,
    }


def test_somebody_has_what_was_proven() -> None:
    who = Identity(
        IdentityKind.API_KEY, "keys", "k7", "k7", "acme", "example", ("a", "b"), {"tier": "gold"}, {"n": 1}
    )
    names = ("kind", "provider", "subject", "key_id", "customer", "scopes", "labels", "claims", "anonymous")
    found = [VOCABULARY[f"identity.{name}"].read(facts(who)) for name in names]
    assert found == ["api_key", "keys", "k7", "k7", "acme", ["a", "b"], {"tier": "gold"}, {"n": 1}, False]


def test_the_rest_is_as_envoy_says() -> None:
    asked = facts(
        protocol="HTTP/2",
        request_id="r-1",
        size=-1,
        body=b"\xff",
        principal="spiffe://a/b",
        context={"set": "x"},
        metadata={"ns": {"n": 1.0}},
    )
    names = ("request.protocol", "request.id", "request.size", "request.body", "peer.principal")
    assert [VOCABULARY[name].read(asked) for name in names] == [
        "HTTP/2",
        "r-1",
        -1,
        bytearray(b"\xff"),
        "spiffe://a/b",
    ]
    assert VOCABULARY["context"].read(asked) == {"set": "x"}
    assert condition("metadata.ns.n == 1.0").holds(asked) is Truth.YES
    client = request().client
    assert VOCABULARY["client.address"].read(asked) == client.address == "203.0.113.7"
    assert VOCABULARY["client.network"].read(asked) == "203.0.113.7/32"
    assert VOCABULARY["client.port"].read(asked) == 40000


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("identity.scope", "identity.scopes"),
        ("identiy.scopes", "identity.scopes"),
        ("request.methd", "request.method"),
        ("requests.method", "request.method"),
        ("identity.labls.tier", "identity.labels"),
        ("scopes", "identity.scopes"),
        ("parms", "params"),
        ("param.id", "params"),
        ("request", None),
        ("request.foo", None),
        ("a.b", None),
        ("foo", None),
        ("", None),
    ],
)
def test_an_unknown_name_is_guessed_only_where_a_variable_is_close(name: str, meant: str | None) -> None:
    assert nearest(name) == meant

from __future__ import annotations

from typing import Any

import pytest

from authz.snapshot.build import Built
from tests.support.explaining import ask, reading, rule
from tests.support.policies import PROVIDER, MadeKey, load

KEY = MadeKey("k")


def policy(*rules: str, hosts: str = "[items.example.com]") -> str:
    listed = "".join(f"    - {{{one}}}\n" for one in rules)
    return f"kind: Policy\nmetadata: {{name: p}}\nspec:\n  hosts: {hosts}\n  rules:\n{listed}"


def built(*rules: str, hosts: str = "[items.example.com]") -> Built:
    return load(PROVIDER, KEY.document, policy(*rules, hosts=hosts))


OPEN = "name: open, effect: allow, identity: [anyone], paths: [/open]"


@pytest.mark.parametrize(
    ("text", "asked", "part", "fits", "wants", "has"),
    [
        ("identity: [partner-keys]", {}, "identity", False, "partner-keys", "nobody: no credential"),
        ("identity: [partner-keys]", {"headers": {"x-api-key": "bad"}}, "identity", False, "partner-keys",
         "nobody: the credential is not good"),
        ("identity: [partner-keys]", {"headers": {"x-api-key": "a,b"}}, "identity", False, "partner-keys",
         "nobody: more than one credential"),
        ("identity: [partner-keys, anonymous]", {}, "identity", True, "partner-keys or anonymous",
         "nobody: no credential"),
        ("identity: [partner-keys]", {"key": "k"}, "identity", True, "partner-keys",
         f"partner-keys: {KEY.id} of acme"),
        ("identity: [anyone], addresses: [10.0.0.0/8]", {"address": "10.9.9.9"}, "addresses", True,
         "10.0.0.0/8", "10.9.9.9"),
        ("identity: [anyone], addresses: [10.0.0.0/8]", {}, "addresses", False, "10.0.0.0/8", "192.0.2.1"),
        ('identity: [anyone], peers: ["spiffe://a/*"]', {"principal": "spiffe://a/b"}, "peers", True,
         "spiffe://a/*", "spiffe://a/b"),
        ('identity: [anyone], peers: ["spiffe://a/*"]', {}, "peers", False, "spiffe://a/*", ""),
        ("identity: [anyone], upgrade: [websocket]", {"upgrade": "websocket"}, "upgrade", True, "websocket",
         "websocket"),
        ("identity: [anyone], upgrade: [websocket]", {}, "upgrade", False, "websocket", ""),
        ("identity: [anyone]", {"upgrade": "websocket"}, "upgrade", False, "", "websocket"),
    ],
)  # fmt: skip
def test_each_thing_that_a_rule_asks_for_is_told_apart(
    text: str, asked: dict[str, Any], part: str, fits: bool, wants: str, has: str
) -> None:
    told = rule(ask(built(f"name: r, effect: allow, {text}"), **asked), "r")
    (found,) = [one for one in told.fits if one.part == part]
    assert (found.fits, found.wants, found.has) == (fits, wants, has)
    if not fits and "bad" not in str(asked) and "a,b" not in str(asked):
        assert told.says == "does_not_fit"


def test_conditions_tell_their_value_and_what_they_saw() -> None:
    made = built(
        "name: yes, effect: allow, identity: [anyone], when: 'request.method == \"GET\"'",
        "name: no, effect: allow, identity: [anyone], when: 'request.method == \"PUT\"'",
        'name: failed, effect: allow, identity: [anyone], when: \'request.headers["x"] == ""\'',
        'name: denied, effect: deny, when: \'request.headers["x"] == ""\'',
    )
    told = ask(made)
    values = {one.rule: (one.says, one.when.value if one.when else "") for one in reading(told).candidates}
    assert values == {
        "yes": ("holds", "true"),
        "no": ("condition_false", "false"),
        "failed": ("condition_failed", "failed"),
        "denied": ("condition_failed", "failed"),
    }
    when = rule(told, "failed").when
    assert when is not None
    assert when.failure == 'Key not found in map : "x"'
    assert rule(told, "no").when is not None
    assert rule(told, "no").when.variables == {"request.method": '"GET"'}  # type: ignore[union-attr]
    assert told.why == (
        "The condition of deny rule p/denied failed, and whatever denies does so if it fails: Key not found"
        ' in map : "x" (2.yaml:10:7).',
    )


def test_a_condition_is_evaluated_even_where_the_rule_does_not_fit() -> None:
    made = built("name: r, effect: allow, identity: [partner-keys], when: identity.anonymous")
    told = rule(ask(made), "r")
    assert told.says == "does_not_fit"
    assert told.when is not None
    assert told.when.value == "true"


def test_after_a_bad_credential_nobody_but_rules_for_anyone_is_asked() -> None:
    made = built(
        "name: keys, effect: allow, identity: [partner-keys]",
        "name: open, effect: allow, identity: [anyone], paths: [/open]",
        "name: shut, effect: deny, when: 'false'",
    )
    bad: dict[str, Any] = {"headers": {"x-api-key": "bad"}}
    refused, let = ask(made, "/x", **bad), ask(made, "/open", **bad)
    assert {one.rule: one.says for one in reading(refused).candidates} == {
        "keys": "not_asked",
        "shut": "not_asked",
    }
    assert {one.rule: one.says for one in reading(let).candidates} == {
        "keys": "not_asked",
        "open": "holds",
        "shut": "condition_false",
    }


def test_a_rule_that_matches_by_several_patterns_is_asked_for_each() -> None:
    made = built(
        'name: r, effect: allow, identity: [anyone], paths: ["/{a}/x", "/b/{a}"], when: \'params.a == "x"\''
    )
    told = reading(ask(made, "/b/x")).candidates
    assert [(one.path, one.params, one.says) for one in told] == [
        ("/b/{a}", {"a": "x"}, "holds"),
        ("/{a}/x", {"a": "b"}, "condition_false"),
    ]


def test_captures_are_shown_as_conditions_see_them() -> None:
    made = built('name: r, effect: allow, identity: [anyone], paths: ["/{a}"]', hosts='["{t}.example.com"]')
    told = rule(ask(made, "/a%20b"), "r")
    assert told.params == {"a": "a b", "t": "items"}


def test_the_nearest_rules_come_first_with_what_does_not_match() -> None:
    made = built(
        "name: other, effect: allow, identity: [anyone], paths: [/z]",
        'name: deep, effect: allow, identity: [anyone], paths: ["/a/b/c", "/q/r"]',
        "name: post, effect: allow, identity: [anyone], methods: [POST], paths: [/a/b]",
        "name: rpc, effect: allow, identity: [anyone], grpc: [{service: a.B, methods: [G]}, {service: a.C}]",
        "name: far, effect: deny, methods: [PUT], paths: [/z]",
    )
    near = reading(ask(made, "/a/b")).near
    assert [(one.rule, one.because, one.wants) for one in near] == [
        ("post", ("method",), "POST"),
        ("deep", ("path",), "/a/b/c, /q/r"),
        ("other", ("path",), "/z"),
        ("far", ("path", "method"), "/z; PUT"),
        ("rpc", ("path", "method", "grpc"), "/a.B/G, /a.C/*; POST; content type application/grpc"),
    ]
    assert near[0].place.endswith(":9:7")


def test_of_many_rules_that_do_not_match_the_rest_is_counted() -> None:
    made = built(
        *(f"name: r{number}, effect: allow, identity: [anyone], paths: [/p{number}]" for number in range(30))
    )
    told = reading(ask(made, "/x"))
    assert (len(told.near), told.near_omitted) == (8, 22)


def test_a_grpc_rule_is_shown_with_the_path_of_its_method() -> None:
    made = built("name: rpc, effect: allow, identity: [anyone], grpc: [{service: a.B}]")
    told = ask(made, "/a.B/Get", method="POST", headers={"content-type": "application/grpc"})
    assert rule(told, "rpc").path == "/a.B/*"
    assert told.answer.outcome == "allow"

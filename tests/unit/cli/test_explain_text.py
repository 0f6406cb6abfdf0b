from __future__ import annotations

from typing import Any

import pytest

from authz.cli.columns import WIDTH
from authz.cli.explain_text import lines
from authz.rehearsal.explaining.explanation import AnswerPart, Explanation
from tests.support.explaining import ask
from tests.support.policies import PROVIDER, MadeKey, load

KEY = MadeKey("acme", extra="  labels: {tier: gold}\n")
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: ["{tenant}.example.com"]
  rules:
    - {name: read, effect: allow, paths: ["/items/{id}"], identity: [partner-keys], limits: [per-key, costs]}
    - {name: open, effect: allow, paths: ["/open/**"], identity: [anyone], addresses: [192.0.2.0/24]}
    - {name: live, effect: allow, paths: ["/live"], identity: [anyone], upgrade: [websocket]}
    - {name: broken, effect: deny, paths: ["/broken"], when: 'request.headers["gone"] == ""'}
  onAllow: {headers: {x-who: identity.customer}}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 100/s, tiers: [{when: identity.customer == "acme", rate: 5/s}]}
---
kind: Limit
metadata: {name: costs}
spec: {per: [client.network], rate: 1/s, cost: 'request.headers[?"cost"].orValue("1") == "2" ? 2 : 1'}
---
kind: Site
metadata: {name: items}
spec: {hosts: [items.example.com], path: {matrixParameters: keep}, guard: {rate: 20/s}}
---
kind: Policy
metadata: {name: tried}
spec: {mode: shadow, hosts: ["*"], rules: [{name: no, effect: deny, when: 'request.headers["gone"] == ""'}]}
"""
ACME: dict[str, Any] = {"key": "acme"}
COSTLY: dict[str, Any] = {"key": "acme", "headers": {"cost": "2"}}
BAD: dict[str, Any] = {"headers": {"x-api-key": "bad"}}
BUILT = load(PROVIDER, POLICY, KEY.document)


def text(path: str, **asked: Any) -> str:
    return "\n".join(lines(ask(BUILT, path, **asked), lambda part, _: part))


@pytest.mark.parametrize(
    ("path", "asked", "shown"),
    [
        ("/items/7", ACME, "+          items/read (allow): {tenant}.example.com /items/{id}, id=7, t"),
        ("/items/7", ACME, "  labels     tier=gold"),
        ("/items/7", ACME, "  per-key    5/s, burst 5 (from tier 1); costs 1"),
        ("/items/7", ACME, "             bucket example / "),
        ("/items/7", ACME, "  x-who      acme"),
        ("/items/7", ACME, "  error      policy tried, rule no (rule_error); enforced, the outcome"),
        ("/items/7", COSTLY, "costs 2: never passes, the bucket holds less"),
        ("/items/7", BAD, "  cause      credential_not_owned: no provider"),
        ("/items/7", BAD, "items/read: not asked: the credential is not good"),
        ("/open/a;b", {}, "The structural reading of the path: /open/a"),
        ("/open/a;b", {}, "The data reading of the path: /open/a;b"),
        ("/open/a;b", {}, "  keeps      matrixParameters: a path that has them is read in two ways"),
        ("/open", {}, "  faults     20/s, burst 20; not counted here"),
        ("/open", {}, "    identity anyone: yes (whoever it is)"),
        ("/open", {}, "    addresses 192.0.2.0/24: yes (192.0.2.1)"),
        ("/open", {"method": "HEAD"}, "  method     GET (as sent: HEAD)"),
        ("/open?a=b", {}, "  query      a (values are not shown)"),
        ("/open", {"upgrade": "websocket"}, "  upgrade    websocket"),
        ("/open", {"upgrade": "websocket"}, "    upgrade none: no (websocket)"),
        ("/live", {}, "    upgrade websocket: no (the request has none)"),
        ("/open", {"principal": "spiffe://a/b"}, "  peer       spiffe://a/b"),
        ("/open", {"headers": {"x-authz-a": "b"}}, "  removed    x-authz-a: only we may set these"),
        ("/a.B/C", {"method": "POST", "headers": {"content-type": "application/grpc"}}, "  gRPC       yes"),
        ("/broken", {}, "  items/broken: its condition failed: DENIES"),
        ("/broken", {}, "      is failed: Key not found in map"),
        ("/nowhere", {}, "             no rules speak about this host, path and method"),
        ("//", {}, "  path       // (as sent)"),
        ("//", {}, "  unread     path_ambiguous"),
    ],
)  # fmt: skip
def test_each_step_can_be_read(path: str, asked: dict[str, Any], shown: str) -> None:
    whole = text(path, **asked)
    assert shown in whole, whole
    assert max(map(len, whole.splitlines())) <= WIDTH


def test_a_thousand_characters_without_a_space_are_folded() -> None:
    whole = text("/open/" + "a" * 1000, headers={"x-" + "b" * 300: "c"})
    assert max(map(len, whole.splitlines())) <= WIDTH


def test_the_answer_is_the_first_word_and_is_coloured() -> None:
    painted = list(lines(ask(BUILT, "/open"), lambda part, colour: f"<{colour}>{part}"))
    assert painted[0] == "<green>ALLOWED 200 allowed"
    assert "  items/open: <green>allows" in painted
    assert next(iter(lines(ask(BUILT, "/x"), lambda part, colour: f"<{colour}>{part}"))).startswith(
        "<red>DENIED 403"
    )


def test_an_explanation_of_nothing_but_an_answer_can_be_read() -> None:
    answer = AnswerPart("deny", 503, "overloaded", "The check waited too long.", detail="backlog")
    bare = Explanation(
        1, "record", "", "2026-06-01T12:00:00Z", answer, decision_id="id", not_recorded=("all",)
    )
    assert list(lines(bare, lambda part, _: part)) == [
        "DENIED 503 overloaded (backlog)",
        "  The check waited too long.",
        "",
        "judged at 2026-06-01T12:00:00Z by revision none, decision id",
        "",
        "  Not recorded",
        "             all",
    ]

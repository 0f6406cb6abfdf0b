from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from authz.cli.explain_text import lines
from authz.model.decision import Answered
from authz.model.errors import ConfigError
from authz.record.entry import encode
from authz.rehearsal.explaining.explanation import Explanation
from authz.rehearsal.explaining.kept import read_record
from authz.rehearsal.explaining.recorded import explain_record
from authz.snapshot.build import Built
from tests.support.decisions import DECISION_ID, NOW_US, Judge
from tests.support.explaining import reading, rule, who
from tests.support.policies import PROVIDER, MadeKey, load

KEY = MadeKey("acme-reporting")
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: keys, effect: allow, paths: [/keys/*], identity: [partner-keys], limits: [per-key]}
    - name: scoped
      effect: allow
      paths: [/scoped]
      identity: [partner-keys]
      when: '"x" in identity.scopes'
    - {name: headers, effect: allow, paths: [/headers], identity: [anyone], when: '"x" in request.headers'}
    - {name: office, effect: allow, paths: [/headers], identity: [anyone], addresses: [203.0.113.0/24]}
    - {name: peers, effect: allow, paths: [/headers], identity: [anyone], peers: ["spiffe://a/b"]}
    - {name: rpc, effect: allow, grpc: [{service: a.B}], identity: [partner-keys]}
    - {name: posts, effect: allow, methods: [POST], paths: [/headers], identity: [anyone]}
    - {name: shut, effect: deny, paths: [/keys/shut]}
    - {name: broken, effect: deny, paths: [/keys/broken], when: 'request.headers["gone"] == ""'}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/d, burst: 1}
---
kind: Policy
metadata: {name: tried}
spec: {mode: shadow, hosts: ["*"], rules: [{name: no, effect: deny}]}
"""
BUILT = load(PROVIDER, POLICY, KEY.document)
OTHER = load(PROVIDER, POLICY.replace("/scoped", "/moved"), KEY.document)


def line(path: str, built: Built = BUILT, judge: Judge | None = None, **asked: Any) -> bytes:
    """Return the record of a request."""
    answer = (judge or Judge(built.snapshot)).ask(path, **asked)
    check = answer.check
    answered = Answered(
        DECISION_ID,
        NOW_US,
        check.request,
        check.caller,
        check.decision,
        answer.status,
        7,
        shadow=answer.shadow,
    )
    return encode(answered, built.snapshot.fixed, 1)


def explained(path: str, built: Built | None = BUILT, **asked: Any) -> Explanation:
    return explain_record(read_record(line(path, **asked)), built)


def test_what_a_record_keeps_is_shown() -> None:
    told = explained("/keys/a?x=1", key=KEY.token, method="HEAD")
    assert (told.source, told.decision_id, told.revision) == ("record", DECISION_ID, BUILT.snapshot.revision)
    assert told.time == "2026-05-28T20:26:40.000000Z"
    assert (told.answer.outcome, told.answer.allowed_by) == ("allow", ("items/keys",))
    assert told.request is not None
    assert (told.request.method, told.request.sent_method, told.request.address) == (
        "GET",
        "HEAD",
        "10.0.0.1",
    )
    assert (who(told).standing, who(told).key, who(told).customer) == ("proven", "acme-reporting", "acme")
    assert [(limit.name, limit.passes, limit.remaining) for limit in told.limits] == [("per-key", True, 0)]
    assert [(shade.policy, shade.rule, shade.outcome) for shade in told.shadow] == [("tried", "no", "deny")]
    assert told.why == ("Allowed by items/keys.",)
    assert "query" in told.not_recorded
    assert rule(told, "keys").says == "holds"


@pytest.mark.parametrize(
    ("path", "asked", "says"),
    [
        ("/scoped", {"key": KEY.token}, {"scoped": "condition_false"}),
        ("/scoped", {}, {"scoped": "does_not_fit"}),
        ("/scoped", {"key": "bad"}, {"scoped": "not_asked"}),
        ("/headers", {}, {"headers": "not recorded", "office": "does_not_fit", "peers": "not recorded"}),
        ("/keys/shut", {"key": KEY.token}, {"shut": "holds", "keys": "not recorded"}),
        ("/keys/broken", {"key": KEY.token}, {"broken": "condition_failed", "keys": "not recorded"}),
        ("/a.B/Get", {"key": KEY.token, "method": "POST", "headers": [("content-type", "application/grpc")]},
         {"rpc": "holds"}),
        ("/a.B/Get", {"method": "POST", "headers": [("content-type", "application/grpc")]},
         {"rpc": "does_not_fit"}),
    ],
)  # fmt: skip
def test_of_rules_only_what_is_certain_is_said(
    path: str, asked: dict[str, Any], says: dict[str, str]
) -> None:
    told = explained(path, **asked)
    assert {one.rule: one.says for one in reading(told).candidates} == says


def test_what_is_certain_is_never_wrong() -> None:
    """Each rule of each record, against what was so."""
    from tests.support.explaining import ask

    for path in ("/keys/a", "/keys/shut", "/keys/broken", "/scoped", "/headers", "/open"):
        for key in ("", "acme-reporting"):
            real = ask(BUILT, path, key=key, address="10.0.0.1")
            told = explained(path, key=KEY.token if key else "")
            truth = {one.rule: one.says for one in reading(real).candidates}
            for one in reading(told).candidates:
                assert one.says in (truth[one.rule], "not recorded"), (path, key, one)


def test_unknown_parts_of_a_rule_are_not_shown_as_known() -> None:
    told = explained("/headers")
    peers = rule(told, "peers")
    assert [fit.part for fit in peers.fits] == ["identity"]
    when = rule(told, "headers").when
    assert when is not None
    assert (when.value, when.variables) == ("not recorded", {})


def test_a_set_of_another_revision_is_said_to_be_one_and_explains_nothing() -> None:
    told = explained("/scoped", OTHER, key=KEY.token)
    assert told.set_revision == OTHER.snapshot.revision != told.revision
    assert len(told.why) == 1
    assert told.why[0].startswith(f"It was decided by revision {told.revision}; the set given here is")
    assert reading(told).candidates == ()
    shut = explained("/keys/shut", OTHER, key=KEY.token)
    assert rule(shut, "shut").says == "not recorded"  # what is named so today may be another rule
    assert reading(shut).near == ()


def test_without_a_set_the_record_alone_is_shown() -> None:
    told = explained("/keys/shut", None, key=KEY.token)
    assert reading(told).candidates == ()
    assert told.why == ("Rule items/shut decided it.",)
    assert (who(told).key, who(told).key_id) == ("", KEY.id)


def test_reasons_are_explained_from_the_rules_of_the_same_set() -> None:
    assert (
        explained("/scoped", key=KEY.token)
        .why[0]
        .startswith('Rule items/scoped does not allow it: its condition is false: "x" in identity.scopes')
    )
    assert explained("/scoped").why == ("No credential was found, and items/scoped would take one.",)
    assert explained("/scoped", key="bad").why == (
        "The credential is not good: no provider that the rules name, or more than one, owns it.",
    )
    assert explained("/nowhere").why[0].startswith("Rule items/headers comes near: it names /headers")
    assert (
        explained("/headers").why[0].startswith("Rule items/headers does not allow it: its condition is not")
    )
    assert explained("//").why == (
        "It was not judged by any rule: the path reads in two ways: dot segments, repeated or encoded"
        " slashes.",
    )


def test_a_limit_without_room_is_named() -> None:
    judge = Judge(BUILT.snapshot)
    judge.ask("/keys/a", key=KEY.token)
    told = explained("/keys/a", judge=judge, key=KEY.token)
    assert told.answer.reason == "rate_limited"
    assert told.why == (
        "Rule items/keys allows it where its limits have room.",
        "Limit per-key had no room.",
    )


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ("no_room", "had no room"),
        ("cost", "never holds what the request costs"),
        ("store", "refused, since its store did not answer"),
        ("", "had no room"),  # as records were before they said so
    ],
)
def test_a_record_says_why_a_limit_refused(refused: str, said: str) -> None:
    judge = Judge(BUILT.snapshot)
    judge.ask("/keys/a", key=KEY.token)
    kept = json.loads(line("/keys/a", judge=judge, key=KEY.token))
    del kept["limits"][0]["refused"]
    kept["limits"][0] |= {"refused": refused} if refused else {}
    told = explain_record(read_record(json.dumps(kept).encode()), BUILT)
    assert told.why[1] == f"Limit per-key {said}."
    assert any(said in row for row in lines(told))


def test_a_path_that_was_cut_or_masked_is_matched_with_nothing() -> None:
    for path in ("/keys/" + "a" * 2000, f"/keys/{KEY.token}"):
        assert reading(explained(path, key=KEY.token)).candidates == ()


def _bad() -> Iterator[tuple[bytes, str]]:
    yield b"nothing", "not a record"
    yield b"{}", "version 0"
    yield b'{"v": 2}', "use a newer one"
    yield b'{"v": 1, "status": "x"}', "not a record"


@pytest.mark.parametrize(("content", "why"), list(_bad()))
def test_what_is_no_record_is_told(content: bytes, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read_record(content)


def test_fields_of_later_records_are_passed_over() -> None:
    record = json.loads(line("/open"))
    record["later"] = {"a": 1}
    assert explain_record(read_record(json.dumps(record).encode()), BUILT).answer.outcome == "allow"

"""What is said of two policy sets, held to what they answer: whoever reads "no change of access" merges."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from authz.identity.keyring import Peppers
from authz.model.decision import Allow, Decision
from authz.model.errors import SnapshotRejected
from authz.model.reason import Reason
from authz.policy.condition import Compiler
from authz.rehearsal.comparing.difference import Side, difference
from authz.rehearsal.comparing.direction import Effect
from authz.snapshot.build import Builder, Built, Surroundings
from tests.support.decisions import Answer, Judge
from tests.support.policies import PEPPER, MadeKey

patient = settings(max_examples=250, deadline=None)

HOSTS = ["a.example.com", "b.example.com", "*.example.com", "{t}.example.com"]
PATHS = ["/items", "/items/{id}", "/items/*", "/{id}/new", "/items/**", "/items/7"]
WHENS = [
    '"items:read" in identity.scopes',
    '"items:read"  in  identity.scopes',
    '!("items:read" in identity.scopes)',
    'identity.customer == ""',
    'params.id == "7"',
    'request.method == "GET"',
]
HEADERS = ["identity.customer", "params.id", '"x"']
ANSWERED = [
    ("a.example.com", "/items"),
    ("b.example.com", "/items/7"),
    ("a.example.com", "/items/7"),
    ("a.example.com", "/items/new"),
    ("c.b.example.com", "/other/new"),
    ("b.example.com", "/items/7/x"),
]
KEY, OTHER = MadeKey("k"), MadeKey("other", customer="globex", scopes="none")
COMPILER = Compiler()
BUILDER = Builder(Surroundings(Peppers(PEPPER)))

Documents = list[dict[str, Any]]


def some(values: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True)


@st.composite
def rules(draw: st.DrawFn, name: str) -> dict[str, Any]:
    effect = draw(st.sampled_from(["allow", "allow", "deny"]))
    rule: dict[str, Any] = {"name": name, "effect": effect}
    fields: list[tuple[str, st.SearchStrategy[Any]]] = [
        ("methods", some(["GET", "POST"])),
        ("paths", some(PATHS)),
        ("when", st.sampled_from(WHENS)),
        ("addresses", some(["203.0.113.0/24", "203.0.113.7/32", "198.51.100.0/24"])),
    ]
    if effect == "allow":
        fields.append(("limits", some(["per-key", "per-network", "per-id"])))
    for field, values in fields:
        if draw(st.integers(0, 2)) == 0:
            rule[field] = draw(values)
    if effect == "allow" or draw(st.booleans()):
        rule["identity"] = draw(some(["keys", "anonymous", "anyone", "more"]))
    return rule


@st.composite
def policies(draw: st.DrawFn, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"hosts": draw(some(HOSTS))}
    spec["rules"] = [draw(rules(f"r{number}")) for number in range(draw(st.integers(1, 3)))]
    if draw(st.integers(0, 3)) == 0:
        spec["mode"] = "shadow"
    if name == "p1" and draw(st.integers(0, 2)) == 0:
        spec["onAllow"] = {"headers": {"x-told": draw(st.sampled_from(HEADERS))}}
    return document("Policy", name, spec)


def document(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "policy.authz/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _limits() -> Documents:
    return [
        document("Limit", "per-key", {"per": ["identity.key_id"], "rate": "60/min"}),
        document("Limit", "per-network", {"per": ["client.network"], "rate": "5/s", "burst": 9}),
        document("Limit", "per-id", {"per": ["params.id"], "rate": "5/s", "mode": "shadow"}),
    ]


def _key(made: MadeKey) -> dict[str, Any]:
    read = yaml.safe_load(made.document)
    read["apiVersion"] = "policy.authz/v1alpha1"
    read["spec"]["provider"] = "keys"
    return dict(read)


@st.composite
def sets(draw: st.DrawFn) -> Documents:
    providers = [
        document("IdentityProvider", "keys", {"customers": "c", "apiKey": {"in": [{"header": "x-api-key"}]}}),
        document("IdentityProvider", "more", {"customers": "c", "apiKey": {"in": [{"header": "x-more"}]}}),
    ]
    own = [draw(policies(f"p{number}")) for number in range(1, draw(st.integers(2, 3)))]
    return [*own, *providers, *_limits(), _key(KEY), _key(OTHER)]


Edit = Callable[[Documents, st.DataObject], None]


def of_kind(documents: Documents, kind: str, data: st.DataObject) -> dict[str, Any]:
    return data.draw(st.sampled_from([one for one in documents if one["kind"] == kind]))


def reordered(documents: Documents, data: st.DataObject) -> None:
    documents.reverse()
    policy = of_kind(documents, "Policy", data)["spec"]
    policy["rules"].reverse()
    for rule in policy["rules"]:
        for field in ("methods", "paths", "identity", "limits", "addresses"):
            rule.get(field, []).reverse()


def rewritten_rule(documents: Documents, data: st.DataObject) -> None:
    policy = of_kind(documents, "Policy", data)["spec"]
    at = data.draw(st.integers(0, len(policy["rules"]) - 1))
    other = data.draw(rules(policy["rules"][at]["name"]))
    name = data.draw(st.sampled_from(["methods", "paths", "when", "addresses", "identity", "limits"]))
    rule = policy["rules"][at]
    if rule["effect"] == "deny" and name == "limits":
        return
    if name in other and not (name == "limits" and other["effect"] == "deny"):
        rule[name] = other[name]
    elif name != "identity" or rule["effect"] == "deny":
        rule.pop(name, None)


def rule_came_or_went(documents: Documents, data: st.DataObject) -> None:
    policy = of_kind(documents, "Policy", data)["spec"]
    if len(policy["rules"]) > 1 and data.draw(st.booleans()):
        policy["rules"].pop()
    else:
        policy["rules"].append(data.draw(rules(f"new{len(policy['rules'])}")))


def policy_changed(documents: Documents, data: st.DataObject) -> None:
    policy = of_kind(documents, "Policy", data)
    match data.draw(st.sampled_from(["hosts", "mode", "owner", "name", "rule", "headers"])):
        case "hosts":
            policy["spec"]["hosts"] = data.draw(some(HOSTS))
        case "mode":
            policy["spec"]["mode"] = data.draw(st.sampled_from(["shadow", "enforce"]))
        case "owner":
            policy["spec"]["owner"] = "team"
        case "name":
            policy["metadata"]["name"] = "a-renamed"
        case "rule":
            policy["spec"]["rules"][0]["name"] = "a-renamed"
        case "headers" if policy["metadata"]["name"] == "p1":
            policy["spec"]["onAllow"] = {"headers": {"x-told": data.draw(st.sampled_from(HEADERS))}}


def other_document(documents: Documents, data: st.DataObject) -> None:
    match data.draw(st.sampled_from(["rate", "spelled", "mode", "key", "customer", "site", "gone"])):
        case "rate":
            of_kind(documents, "Limit", data)["spec"]["rate"] = data.draw(st.sampled_from(["5/s", "9/s"]))
        case "spelled":
            limit = of_kind(documents, "Limit", data)["spec"]
            limit["burst"] = limit.get("burst", int(limit["rate"].partition("/")[0]))
        case "mode":
            of_kind(documents, "Limit", data)["spec"]["mode"] = data.draw(
                st.sampled_from(["shadow", "enforce"])
            )
        case "key":
            change = data.draw(
                st.sampled_from(
                    [
                        {"enabled": False},
                        {"expiresAt": "2026-01-01T00:00:00Z"},
                        {"expiresAt": "2036-01-01T00:00:00Z"},
                        {"scopes": ["items:read", "none"]},
                        {"addresses": ["198.51.100.0/24"]},
                        {"labels": {"tier": "gold"}},
                    ]
                )
            )
            of_kind(documents, "ApiKey", data)["spec"].update(change)
        case "customer":
            spec = {"customers": "c", "enabled": data.draw(st.booleans())}
            documents.append(document("Customer", "acme", spec))
        case "site":
            documents.append(document("Site", "s", {"hosts": ["*"], "reasons": "full"}))
        case "gone":
            documents.remove(of_kind(documents, "ApiKey", data))


EDITS: list[Edit] = [
    reordered,
    rewritten_rule,
    rewritten_rule,
    rule_came_or_went,
    policy_changed,
    other_document,
]


def built(documents: Documents) -> Built:
    content = "---\n".join(json.dumps(one) + "\n" for one in documents).encode()
    return BUILDER.build({"set.yaml": content}, loaded_at_us=0)


def asked(judge: Judge) -> Iterator[Answer]:
    """Ask for everything that the sets may tell apart, by nobody and by each key, once each."""
    for host, path in ANSWERED:
        for method in ("GET", "POST"):
            for place, token in (
                ("", ""),
                ("x-api-key", KEY.token),
                ("x-more", KEY.token),
                ("x-api-key", OTHER.token),
            ):
                headers = [(place, token)] if place else []
                yield judge.ask(path, method=method, host=host, headers=headers, peer="203.0.113.7")


def told(answer: Answer) -> object:
    """Return what the two sides of the proxy get to know, and what the limits are asked for."""
    grant = answer.check.decision.grant if isinstance(answer.check.decision, Allow) else answer.check.grant
    spends = tuple(sorted(map(repr, grant.spends))) if grant is not None else ()
    headers = {k: v for k, v in answer.headers.items() if k != "x-authz-decision-id"}
    return (answer.status, answer.reason, sorted(headers.items()), sorted(answer.removed), spends)


def passes(decision: Decision) -> bool:
    """Whether rules let it through; how full the buckets are is another matter."""
    return isinstance(decision, Allow) or decision.reason is Reason.RATE_LIMITED


@patient
@given(sets(), st.data())
def test_what_is_said_of_two_sets_is_what_they_answer(before: Documents, data: st.DataObject) -> None:
    after = copy.deepcopy(before)
    for edit in data.draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=2)):
        edit(after, data)
    try:
        old, new = built(before), built(after)
    except SnapshotRejected:  # two policies that set one header differently, and the like
        reject()
    found = difference(Side(old.loaded), Side(new.loaded), COMPILER)
    pairs = list(zip(asked(Judge(old.snapshot)), asked(Judge(new.snapshot)), strict=True))
    if found.same_access:
        assert [told(one) for one, _ in pairs] == [told(other) for _, other in pairs], found
    for one, other in pairs:
        if found.effect is Effect.NARROWER:
            assert passes(one.check.decision) or not passes(other.check.decision), found
        if found.effect is Effect.WIDER:
            assert passes(other.check.decision) or not passes(one.check.decision), found


@patient
@given(sets(), st.data())
def test_a_set_is_told_apart_from_none_and_from_nobody_else(before: Documents, data: st.DataObject) -> None:
    """Whatever is reordered and nothing else is no change."""
    after = copy.deepcopy(before)
    after.reverse()
    for one in after:
        if one["kind"] == "Policy":
            one["spec"]["rules"].reverse()
            one["metadata"]["annotations"] = {"note": "x"}
    found = difference(Side(built(before).loaded), Side(built(after).loaded), COMPILER)
    assert found.same_access, found
    assert found.changes == ()

"""Documents compiled: rules, limits and Sites as they are asked, and every fault at its place."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.errors import PolicyError
from authz.model.limit import OnStoreError, Rate
from authz.model.reason import Coarse
from authz.model.site import DEFAULT_SITE, Redirect, Refusal
from authz.policy.compile import Ruleset, compile_set, network
from authz.policy.rule import Network, Rule, Whose
from authz.snapshot.snapshot import Snapshot
from tests.support.decisions import Judge
from tests.support.documents import PER_CUSTOMER, PER_KEY, PROVIDER, document, loaded
from tests.support.documents import policy as one_rule
from tests.support.policies import load
from tests.support.requests import request


def compiled(*documents: str) -> Ruleset:
    return compile_set(loaded(*documents))


def the_rule(fields: str, *others: str) -> Rule:
    """Return the one rule of a set, compiled."""
    rules = compiled(one_rule(fields), *others)
    assert rules.faults == []
    index, asked = rules.index, request("POST", path="/a.B/C", grpc=True)
    (found,) = {candidate.rule for candidate in index.candidates(index.view("items.example.com"), asked)}
    return found


def told(errors: list[PolicyError]) -> list[str]:
    return [f"{error.place.line}: {error.what}" for error in errors]


# --- rules


def test_a_rule_is_what_its_document_says() -> None:
    fields = (
        "effect: allow, identity: [keys, anonymous], limits: [per-key], upgrade: [websocket],"
        " peers: ['spiffe://a/*', 'spiffe://b/c'], addresses: [203.0.113.0/24, '2001:db8::/64'], when: 'true'"
    )
    found = the_rule(fields, PROVIDER, PER_KEY)
    assert (found.allow, found.anonymous, found.anyone) == (True, True, False)
    assert found.providers == {"keys"}
    assert found.upgrade == {"websocket"}
    assert [(peer.text, peer.wildcard) for peer in found.peers] == [
        ("spiffe://a/", True),
        ("spiffe://b/c", False),
    ]
    assert found.networks == (
        Network(4, 0xCB007100, 0xCB0071FF),
        Network(6, 0x20010DB8 << 96, (0x20010DB8 << 96) + 2**64 - 1),
    )
    assert [each.name for each in found.limits] == ["per-key"]
    assert found.when is not None
    assert found.when.source == "true"


@pytest.mark.parametrize(
    ("fields", "anyone"),
    [
        ("effect: deny", True),
        ("effect: deny, identity: [anonymous]", False),
        ("effect: deny, identity: [keys]", False),
        ("effect: allow, identity: [anyone]", True),
    ],
)
def test_a_deny_rule_speaks_about_everyone_unless_it_narrows_itself(fields: str, anyone: bool) -> None:
    assert the_rule(fields, PROVIDER).anyone is anyone


def test_a_grpc_rule_is_a_post_of_service_and_method() -> None:
    found = the_rule("effect: allow, identity: [anyone], grpc: [{service: a.B, methods: [C, D]}]")
    assert found.grpc
    assert found.methods == {"POST"}
    assert the_rule("effect: allow, identity: [anyone], grpc: [{service: a.B}]").grpc


def test_a_rule_without_paths_speaks_about_every_path() -> None:
    index = compiled(one_rule("effect: allow, identity: [anyone]")).index
    for path in ("/", "/a", "/a/b/c"):
        assert len(index.candidates(index.view("items.example.com"), request(path=path))) == 1


def test_every_provider_of_a_host_is_known_whatever_its_rule() -> None:
    rules = compiled(one_rule("effect: deny, identity: [keys], paths: [/far/away]"), PROVIDER)
    assert rules.index.view("items.example.com").providers == {"keys"}
    assert rules.index.view("else.example.com").providers == frozenset()


@pytest.mark.parametrize(
    ("fields", "when", "grant"),
    [
        ("when: 'identity.anonymous', limits: [per-key]", True, True),
        ("when: 'true'", True, True),
        ("when: 'request.method == \"GET\"', limits: [per-key]", False, True),
        ("when: 'identity.anonymous && client.port > 0'", False, True),
        ("limits: [by-size]", False, False),
        ("limits: [by-host]", False, False),
    ],
)
def test_what_follows_from_the_identity_alone_is_marked(fields: str, when: bool, grant: bool) -> None:
    limits = (
        document("Limit", "by-size", "{per: [identity.key_id], rate: 1/s, cost: request.size}"),
        document("Limit", "by-host", "{per: [request.host], rate: 1/s}"),
    )
    found = the_rule(f"effect: allow, identity: [anyone], {fields}", PER_KEY, *limits)
    assert (found.when_of_identity, found.grant_of_identity) == (when, grant)


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        ("paths: ['/a.B/{id}']", False),
        ("paths: ['/a.B/{id}'], when: 'request.size > 1'", False),
        ("paths: ['/a.B/{id}'], when: 'params.id == \"a\"'", True),
        ("paths: ['/a.B/{id}'], limits: [per-id]", True),
        ("paths: ['/a.B/{id}'], limits: [costly]", True),
    ],
)
def test_a_rule_knows_whether_an_expression_asks_for_its_captures(fields: str, params: bool) -> None:
    per_id = document("Limit", "per-id", "{per: ['params.id'], rate: 9/s}")
    costly = document("Limit", "costly", "{per: [identity.key_id], rate: 9/s, cost: 'double(params.id)'}")
    made = the_rule(f"effect: allow, identity: [anyone], {fields}", per_id, costly)
    assert made.params is params


def test_a_network_is_a_range() -> None:
    assert network("0.0.0.0/0") == Network(4, 0, 2**32 - 1)
    assert network("::1/128") == Network(6, 1, 1)


# --- faults and warnings


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("when: request.method", "a condition is true or false, this one is text"),
        ("when: foo", "undeclared reference to `foo`"),
        ("when: has(identity.anonymous)", "asks nothing"),
    ],
)
def test_a_condition_that_cannot_be_used_is_a_fault_at_its_place(fields: str, words: str) -> None:
    (fault,) = told(compiled(one_rule(f"effect: allow, identity: [anyone], {fields}")).faults)
    assert fault.startswith("4: ")
    assert words in fault


def test_every_fault_of_a_set_is_told() -> None:
    limit = document(
        "Limit", "l", "{per: [request.size, foo], rate: 1/s, cost: bar, tiers: [{when: 1, rate: 1/s}]}"
    )
    limit = limit.replace("when: 1", "when: '1'").replace(
        "per: [request.size", "per: [identity.key_id, request.size"
    )
    headers = "onAllow: {headers: {x-a: request.size, x-b: baz}}"
    broken = document(
        "Policy", "p", f'{{hosts: ["*"], rules: [{{name: r, effect: deny, when: qux}}], {headers}}}'
    )
    faults = compiled(limit, broken).faults
    words = ["this is a number, it must be text", "`foo`", "`bar`", "this one is a number"]
    words += ["this is a number, it must be text", "`baz`", "`qux`"]
    assert len(faults) == len(words)
    for word in words:
        assert any(word in fault.what for fault in faults)


def test_a_tier_reads_the_identity_alone() -> None:
    tiers = 'tiers: [{when: \'request.method == "GET" && identity.kind == "jwt"\', rate: 2/s}]'
    (fault,) = compiled(document("Limit", "l", f"{{per: [identity.key_id], rate: 1/s, {tiers}}}")).faults
    assert "not `identity.kind`, `request.method`" in fault.what


@pytest.mark.parametrize("cost", ["-1", "-0.5", "1e999", "-1e999"])
def test_a_written_cost_is_a_finite_number(cost: str) -> None:
    (fault,) = compiled(
        document("Limit", "l", f"{{per: [identity.key_id], rate: 1/s, cost: '{cost}'}}")
    ).faults
    assert "a cost is a finite number >= 0" in fault.what


@pytest.mark.parametrize("cost", ["1_000", "\u0663", "+1", "0x", "nan", "inf", "Infinity"])
def test_a_cost_that_only_python_reads_is_refused(cost: str) -> None:
    limit = document("Limit", "l", f"{{per: [identity.key_id], rate: 5/s, cost: '{cost}'}}")
    assert compiled(limit).faults


@pytest.mark.parametrize(("cost", "value"), [("0", 0.0), ("2.5", 2.5), (" 3 ", 3.0), ("1e1", 10.0)])
def test_a_written_cost_is_read_once(cost: str, value: float) -> None:
    limit = document("Limit", "per-key", f"{{per: [identity.key_id], rate: 10/s, cost: '{cost}'}}")
    found = the_rule("effect: allow, identity: [anyone], limits: [per-key]", limit)
    assert (found.limits[0].fixed_cost, found.limits[0].cost) == (value, None)


@pytest.mark.parametrize(
    ("per", "whose"),
    [
        ("identity.key_id", Whose.CUSTOMER),
        (" identity.customer ", Whose.CUSTOMER),
        ("client.network, identity.customer", Whose.CUSTOMER),
        ("request.host, client.network", Whose.NETWORK),
        ("client.address", Whose.ANYBODY),
        ("'identity.customer + request.host'", Whose.ANYBODY),  # no plain attribute: may be anybody's
        ("identity.subject", Whose.ANYBODY),
    ],
)
def test_whose_a_limit_is_follows_from_plain_attributes(per: str, whose: Whose) -> None:
    limit = document("Limit", "per-key", f"{{per: [{per}], rate: 10/s}}")
    found = the_rule("effect: allow, identity: [anyone], limits: [per-key]", limit)
    assert found.limits[0].whose is whose


@pytest.mark.parametrize(
    ("fields", "mode"), [("", "local"), *[(f", onStoreError: {mode}", mode) for mode in OnStoreError]]
)
def test_a_limit_says_what_it_does_without_a_store(fields: str, mode: str) -> None:
    limit = document("Limit", "per-key", f"{{per: [identity.key_id], rate: 10/s{fields}}}")
    found = the_rule("effect: allow, identity: [anyone], limits: [per-key]", limit)
    assert found.limits[0].on_store_error is OnStoreError(mode)


def test_a_cost_above_the_burst_deserves_a_warning() -> None:
    rules = compiled(document("Limit", "l", "{per: [identity.key_id], rate: 5/s, cost: '6'}"))
    assert rules.faults == []
    assert "exceeds the burst" in rules.warnings[0].what


@pytest.mark.parametrize(
    ("when", "count"),
    [
        ('request.headers["x"] == "a"', 2),
        ('request.headers[?"x"].orValue("") == "a"', 1),
        ("params.id == '1'", 0),  # `lint` knows what the patterns capture
        ('"a" in request.header_values[?"x"].orValue([])', 0),
    ],
)
def test_a_deny_rule_is_warned_of_what_it_misses(when: str, count: int) -> None:
    rules = compiled(one_rule(f"effect: deny, when: '{when.replace(chr(39), chr(39) * 2)}'"))
    assert rules.faults == []
    assert len(rules.warnings) == count
    allow = compiled(
        one_rule(f"effect: allow, identity: [anyone], when: '{when.replace(chr(39), chr(39) * 2)}'")
    )
    assert allow.warnings == []


# --- Sites


def test_a_site_is_the_defaults_unless_it_says_otherwise() -> None:
    plain = compiled(document("Site", "s", '{hosts: ["*"]}')).sites.of("h")
    assert (plain.name, plain.refusals) == ("s", {})
    assert (plain.keep_matrix, plain.keep_slashes, plain.remove_method_override, plain.full_reasons) == (
        False,
        False,
        False,
        False,
    )
    assert plain.path_max_bytes == DEFAULT_SITE.path_max_bytes
    other = "path: {matrixParameters: keep, encodedSlash: keep, maxBytes: 9}, methodOverride: remove"
    said = compiled(document("Site", "s", f'{{hosts: ["*"], {other}, reasons: full}}')).sites.of("h")
    assert (said.keep_matrix, said.keep_slashes, said.path_max_bytes) == (True, True, 9)
    assert (said.remove_method_override, said.full_reasons) == (True, True)


def test_what_an_entry_leaves_out_the_default_fills() -> None:
    deny = (
        "onDeny: {unauthenticated: {redirect: {to: 'https://l.example.com', returnTo: next}},"
        " forbidden: {headers: {x-own: '1'}}, default: {headers: {cache-control: no-store}}}"
    )
    refusals = compiled(document("Site", "s", f'{{hosts: ["*"], {deny}}}')).sites.of("h").refusals
    no_store = (("cache-control", "no-store"),)
    assert refusals[Coarse.UNAUTHENTICATED] == Refusal(Redirect("https://l.example.com", "next"), no_store)
    assert refusals[Coarse.FORBIDDEN] == Refusal(None, (("x-own", "1"),))
    assert refusals[Coarse.LIMITED] == Refusal(None, no_store)
    assert set(refusals) == set(Coarse)


def test_a_guard_is_a_rate_of_its_site_and_a_set_without_one_is_told_apart() -> None:
    plain = compiled(document("Site", "s", "{hosts: [a]}")).sites
    assert (plain.of("a").guard, plain.guarded) == (None, False)
    texts = (
        document("Site", "s", "{hosts: [a], guard: {rate: 60/min}}"),
        document("Site", "t", "{hosts: [b]}"),
    )
    sites = compiled(*texts).sites
    assert sites.guarded
    assert (sites.of("a").guard, sites.of("b").guard) == (Rate(1.0, 60.0, 60), None)


def test_each_of_several_processes_guards_its_share() -> None:
    documents = loaded(document("Site", "s", "{hosts: [a], guard: {rate: 20/s, burst: 3}}"))
    rate = compile_set(documents, processes=4).sites.of("a").guard
    assert rate is not None
    assert (rate.rate_per_s, rate.burst_tokens) == (5.0, 1.0)


# --- laws over sets of documents

_RULES = [
    "{name: a, effect: allow, identity: [anyone], paths: [/a]}",
    "{name: b, effect: allow, identity: [anyone], paths: ['/{x}'], when: 'params.x != \"c\"'}",
    "{name: c, effect: deny, paths: ['/b/**']}",
    '{name: d, effect: deny, when: \'request.headers["x-gone"] == ""\', paths: [/d]}',
    "{name: e, effect: allow, identity: [anonymous], paths: ['/**'], when: 'request.method == \"POST\"'}",
]
_ASKED = [
    (method, path) for method in ("GET", "POST") for path in ("/", "/a", "/b", "/b/x", "/c", "/d", "/e")
]


def policies(split: int, order: tuple[int, ...]) -> list[str]:
    """Write the rules in an order, the first some of them in one policy, the rest in another."""
    parts = {"p": [n for n in order if n < split], "q": [n for n in order if n >= split]}
    rules = {name: ", ".join(_RULES[n] for n in part) for name, part in parts.items() if part}
    return [
        f'kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  hosts: ["*"]\n  rules: [{written}]'
        for name, written in rules.items()
    ]


def decisions(snapshot: Snapshot) -> list[tuple[str, str, str]]:
    judge = Judge(snapshot)
    answers = [judge.ask(path, method=method) for method, path in _ASKED]
    return [(answer.reason, answer.detail, answer.rule) for answer in answers]


@pytest.mark.parametrize("split", [0, 2, 4])
def test_the_order_of_files_documents_and_rules_never_matters(split: int) -> None:
    expected = decisions(load(*policies(split, (0, 1, 2, 3, 4))).snapshot)
    assert {reason for reason, _, _ in expected} >= {
        "allowed",
        "denied_by_rule",
        "rule_error",
        "not_permitted",
    }
    for order in list(permutations(range(5)))[1::17]:
        written = policies(split, order)
        for documents in (written, written[::-1]):
            assert decisions(load(*documents).snapshot) == expected


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 4), min_size=1), st.integers(0, 4))
def test_a_deny_rule_more_or_an_allow_rule_less_never_widens(rules: set[int], one: int) -> None:
    """Whatever rules stand beside it, over real documents and requests."""
    fewer, more = sorted(rules - {one}), sorted(rules | {one})
    if not fewer:
        return
    narrow, wide = (decisions(load(*policies(5, tuple(part))).snapshot) for part in (fewer, more))
    if '"deny"' in _RULES[one] or "effect: deny" in _RULES[one]:
        narrow, wide = wide, narrow
    for before, after in zip(narrow, wide, strict=True):
        assert before[0] != "allowed" or after[0] == "allowed"


def test_limits_of_one_set_are_shared_by_their_rules() -> None:
    found = the_rule(
        "effect: allow, identity: [keys], limits: [per-key, per-customer]", PROVIDER, PER_KEY, PER_CUSTOMER
    )
    assert [each.name for each in found.limits] == ["per-key", "per-customer"]

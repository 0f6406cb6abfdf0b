"""One policy set, whole or not at all."""

from __future__ import annotations

import pytest

from authz.identity.keyring import Peppers
from authz.model.errors import SnapshotRejected
from authz.model.limit import Rate
from authz.model.site import Listener
from authz.policy.load import load as load_set
from authz.snapshot.build import Builder, Surroundings, build
from authz.snapshot.keys import keys
from tests.support.policies import PEPPER, PROVIDER, MadeKey, documents, load
from tests.support.requests import request

POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [partner-keys]}]
  onAllow: {headers: {x_auth_key: identity.key_id}}
"""
SITE = "kind: Site\nmetadata: {name: s}\nspec: {hosts: [a.example.com], reasons: full}"
KEY = MadeKey("k")


def rejected(*texts: str) -> list[str]:
    with pytest.raises(SnapshotRejected) as caught:
        load(*texts)
    return [str(fault) for fault in caught.value.faults]


def test_a_snapshot_is_everything_that_decides() -> None:
    around = Surroundings(Peppers(PEPPER), listener=Listener(2), source_revision="abc", sidecar="s-1")
    built = build(documents(PROVIDER, POLICY, SITE, KEY.document), around, loaded_at_us=7)
    made = built.snapshot
    assert made.ready
    assert made.revision == built.loaded.revision
    assert len(made.revision) == 12
    assert (made.source_revision, made.loaded_at_us, made.problem) == ("abc", 7, "")
    assert made.site("a.example.com").full_reasons
    assert made.reading.site_of("a.example.com").name == "s"
    assert made.reading.listener.trusted_hops == 2
    assert made.reading.owned == {"x-auth-key"}
    assert (made.fixed.sidecar, made.fixed.revision, made.fixed.source_revision) == (
        "s-1",
        made.revision,
        "abc",
    )
    assert set(made.providers) == {"partner-keys"}
    assert built.warnings is not None


def test_one_fault_refuses_the_whole_set_and_every_fault_is_told() -> None:
    bad = POLICY.replace("identity.key_id", "identity.gone").replace("name: items", "name: other")
    worse = POLICY.replace("[partner-keys]", "[strangers]").replace("name: items", "name: third")
    told = rejected(PROVIDER, POLICY, bad, worse)
    assert any("`identity.gone`" in fault for fault in told)
    assert any("`strangers`" in fault for fault in told)


@pytest.mark.parametrize(
    "texts",
    [
        (POLICY,),
        (PROVIDER, POLICY, POLICY),
        (PROVIDER, POLICY.replace("r, effect", "r, limits: [gone], effect")),
        (PROVIDER, PROVIDER, POLICY),
        (KEY.document,),
        (SITE, SITE.replace("name: s", "name: t")),
        (POLICY.replace("a.example.com", "A.example.com"),),
        ("kind: Nothing\nmetadata: {name: x}\nspec: {}",),
        ("just text",),
    ],
)
def test_a_faulty_set_is_rejected_and_never_crashes(texts: tuple[str, ...]) -> None:
    assert rejected(*texts)


def test_nothing_is_no_set() -> None:
    with pytest.raises(SnapshotRejected):
        build({}, Surroundings(), 0)


def test_the_revision_follows_from_the_documents_alone() -> None:
    first = load(PROVIDER, POLICY, KEY.document).snapshot.revision
    assert load(KEY.document, POLICY, PROVIDER).snapshot.revision == first
    assert load(PROVIDER, POLICY).snapshot.revision != first


def test_building_again_changes_nothing() -> None:
    builder = Builder(Surroundings())
    files = documents(PROVIDER, POLICY, KEY.document)
    revisions = {builder.build(files, 0).snapshot.revision for _ in range(2)}
    assert revisions == {build(files, Surroundings(), 0).snapshot.revision}


def test_warnings_of_documents_and_of_conditions_are_told() -> None:
    deny = POLICY.replace(
        "effect: allow, identity: [partner-keys]", "effect: deny, when: 'request.query.x == [\"1\"]'"
    )
    discouraged = load(PROVIDER, deny.replace("\n  onAllow: {headers: {x_auth_key: identity.key_id}}", ""))
    words = " ".join(warning.what for warning in discouraged.warnings)
    assert "request.query['x']" in words
    assert "query" in words


def test_expiries_are_sorted_and_the_next_one_is_found() -> None:
    made = load(
        PROVIDER,
        MadeKey("b", extra="  expiresAt: 1970-01-01T00:00:02Z\n").document,
        MadeKey("a", extra="  expiresAt: 1970-01-01T00:00:01Z\n").document,
        KEY.document,
    ).snapshot
    assert made.expiries_us == (1_000_000, 2_000_000)
    assert made.next_expiry_us(0) == 1_000_000
    assert made.next_expiry_us(1_000_000) == 2_000_000
    assert made.next_expiry_us(2_000_000) is None
    assert [made.expiring(0, within_us) for within_us in (999_999, 1_000_000, 2_000_000)] == [0, 1, 2]
    assert made.expiring(1_000_000, 9_000_000) == 1  # what has expired does not expire


def test_a_snapshot_knows_what_it_is_made_of() -> None:
    made = load(PROVIDER, KEY.document, MadeKey("b").document).snapshot
    assert made.contents == {"IdentityProvider": 1, "ApiKey": 2}


def test_a_credential_place_is_never_recorded() -> None:
    around = Surroundings(
        Peppers(PEPPER), record_headers=("user-agent", "x-api-key", "authorization", "cookie")
    )
    made = build(documents(PROVIDER, POLICY), around, 0).snapshot
    assert made.fixed.headers == ("user-agent",)


@pytest.mark.parametrize(
    ("expression", "time", "body"),
    [
        ("request.size > 9", False, False),
        ("request.time > timestamp(0)", True, False),
        ("size(request.body) > 1", False, True),
    ],
)
def test_time_and_body_are_read_where_an_expression_asks(expression: str, *, time: bool, body: bool) -> None:
    rule = f"{{name: r, effect: allow, identity: [partner-keys], when: '{expression}'}}"
    text = f"kind: Policy\nmetadata: {{name: p}}\nspec: {{hosts: ['*'], rules: [{rule}]}}"
    reading = load(PROVIDER, text).snapshot.reading
    assert (reading.time, reading.body) == (time, body)


def test_a_limit_that_asks_for_the_body_has_it_read() -> None:
    spec = "{per: [identity.key_id], rate: 9/s, cost: 'size(request.body)'}"
    limit = f"kind: Limit\nmetadata: {{name: l}}\nspec: {spec}"
    assert load(PROVIDER, limit).snapshot.reading.body


@pytest.mark.parametrize("keepers", [4, 1])
def test_every_rate_of_a_set_is_shared_among_those_who_keep_buckets(keepers: int) -> None:
    limit = """
kind: Limit
metadata: {name: shared}
spec:
  per: [identity.key_id]
  rate: 100/s
  burst: 300
  tiers: [{when: 'identity.customer == "x"', rate: 40/s}]
---
kind: Policy
metadata: {name: shares}
spec:
  hosts: [shares.example.com]
  rules: [{name: r, effect: allow, identity: [partner-keys], limits: [shared]}]
"""
    around = Surroundings(Peppers(PEPPER), processes=4, keepers=keepers)
    extra = "  limits: {shared: {rate: 8/s}}\n"
    files = documents(PROVIDER, limit, MadeKey("shares", extra=extra).document)
    made = build(files, around, loaded_at_us=0).snapshot
    asked = request(host="shares.example.com")
    (candidate,) = made.index.candidates(made.index.view("shares.example.com"), asked)
    (rule,) = candidate.rule.limits
    assert (rule.rate, rule.tiers[0].rate) == (Rate(100, 300).share(keepers), Rate(40, 40).share(keepers))
    (key,) = keys(load_set(files), made.providers, keepers)
    assert key.identity.limits == {"shared": Rate(8, 8).share(keepers)}

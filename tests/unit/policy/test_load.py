from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest

from authz.model.errors import SnapshotRejected
from authz.policy.load import Cache, load, load_lenient
from authz.policy.loaded import Document, Loaded, canonical_json
from authz.policy.shape import Model
from tests.support.documents import (
    PER_CUSTOMER,
    PER_KEY,
    PROVIDER,
    document,
    faults,
    faults_of_files,
    join,
    key,
    loaded,
    policy,
)

GOLDEN = Path(__file__).parents[2] / "golden"
OPEN = policy("effect: allow, identity: [anyone]")


def test_the_contract_loads() -> None:
    found = load({"contract.yaml": (GOLDEN / "contract.yaml").read_bytes()})
    counts = [len(kind) for kind in (found.policies, found.sites, found.providers, found.keys)]
    assert counts == [1, 1, 1, 1]
    assert [len(kind) for kind in (found.customers, found.limits, found.tests)] == [1, 2, 1]
    assert [limit.name for limit in found.limits] == ["per-customer", "per-key"]
    assert len(found.revision) == 12
    assert not found.warnings


def test_the_digests_of_the_contract_are_those_of_its_example_secret() -> None:
    pepper = b"example-pepper-of-32-bytes-long!"
    (found,) = load({"contract.yaml": (GOLDEN / "contract.yaml").read_bytes()}).keys
    assert [secret.version for secret in found.spec.secrets] == [2, 1]
    for secret in found.spec.secrets:
        fields = (b"authz-key-v1", found.spec.id.encode(), str(secret.version).encode(), b"A" * 43)
        message = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        digest = base64.urlsafe_b64encode(hmac.digest(pepper, message, "sha256")).rstrip(b"=")
        assert secret.digest == digest.decode()
        assert secret.pepper == hmac.digest(pepper, b"authz-pepper", "sha256")[:4].hex()


def test_of_the_whole_contract_only_what_is_not_due_yet_is_refused() -> None:
    assert faults_of_files({"c.yaml": (GOLDEN / "contract-whole.txt").read_bytes()}) == [
        "c.yaml:64:3: `jwt` is not supported yet: remove the provider",
    ]


def test_the_revision_is_the_digest_of_the_documents_as_written() -> None:
    found = loaded(PROVIDER, OPEN)
    rows = [[one.kind, one.name, one.data] for one in (*found.providers, *found.policies)]
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert found.revision == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_the_revision_ignores_order_files_comments_style_and_tests() -> None:
    case = "{name: x, request: {host: a, path: /}, expect: {outcome: deny}}"
    test = document("PolicyTest", "t", f"{{now: 2026-01-01T00:00:00Z, cases: [{case}]}}")
    revision = loaded(PROVIDER, OPEN).revision
    assert loaded(OPEN, PROVIDER).revision == revision
    assert loaded("# hello\n" + PROVIDER, OPEN, test).revision == revision
    assert load({"b": PROVIDER.encode(), "a": OPEN.replace("read", "'read'").encode()}).revision == revision


def test_the_revision_changes_with_any_word() -> None:
    revisions = {
        loaded(PROVIDER, OPEN).revision,
        loaded(PROVIDER).revision,
        loaded(OPEN).revision,
        loaded(PROVIDER, OPEN.replace("hosts", "owner: x, hosts")).revision,
        loaded(PROVIDER, policy("effect: allow, identity: [anyone]", name="other")).revision,
    }
    assert len(revisions) == 5


def test_every_fault_of_every_file_is_told_sorted_by_place() -> None:
    assert faults_of_files(
        {
            "b.yaml": b"a: [",
            "a.yaml": join(policy("effect: permit"), document("Limit", "L", "{per: [x], rate: 1}")).encode(),
            "c.yaml": b"",
        }
    ) == [
        "a.yaml:4:65: `spec.rules[0].effect` cannot be `permit`: write `allow` or `deny`",
        "a.yaml:8:18: `metadata.name`: `L` is not a name: write `a-z`, `0-9` and `-`, at most 63",
        "a.yaml:9:24: `spec.rate` must be a text, not a number:"
        " write `1/s`, or with the unit `min`, `h` or `d`",
        "b.yaml:2:1: not well-formed YAML: while parsing a flow node, did not find expected node content",
        "c.yaml:1:1: no document in this file: write one, or delete the file",
    ]


def test_a_set_without_documents_is_refused() -> None:
    assert faults_of_files({}) == ["policies:1:1: no documents in the set: write at least one policy"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("- a\n", "f.yaml:1:1: a document is a mapping: write `apiVersion`, `kind`, `metadata` and `spec`"),
        ("hello\n", "f.yaml:1:1: a document is a mapping"),
        ("a: b\n", "f.yaml:1:1: `kind` is missing: write one of `ApiKey`, `Customer`, "),
        ("a: b\nkind: Polcy\n", "f.yaml:2:7: there is no kind `Polcy`: did you mean `Policy`?"),
        ("kind: 7\n", "f.yaml:1:7: there is no kind `7`: write one of `ApiKey`, "),
        ("kind: [Policy]\n", "f.yaml:1:7: there is no kind `"),
        ("kind: Data\n", "f.yaml:1:7: needs a newer authz: this one knows no kind `Data`; upgrade it first"),
        ("kind: Policy\nspec: {}\n", "f.yaml:1:1: `apiVersion` is missing: write `apiVersion: policy."),
        (
            OPEN.replace("v1alpha1", "v1"),
            "f.yaml:1:13: needs a newer authz: this one reads `policy.authz/v1alpha1`, not `policy.authz/v1`",
        ),
        (
            OPEN.replace("v1alpha1", "alpha1"),
            "f.yaml:1:13: `apiVersion` cannot be `policy.authz/alpha1`: write `policy.authz/v1alpha1`",
        ),
    ],
)
def test_a_document_says_its_version_and_kind(text: str, fault: str) -> None:
    assert any(found.startswith(fault) for found in faults(text)), faults(text)


def test_a_document_knows_its_places_and_its_data() -> None:
    (found,) = loaded(OPEN).policies
    assert str(found.place("spec", "rules", 0, "effect")) == "set.yaml:4:65"
    assert str(found.place("spec", "rules", 0, "when")) == "set.yaml:4:44"
    assert str(found.fault("x", "spec", "hosts", at_key=True)) == "set.yaml:4:8: x"
    assert found.file == "set.yaml"
    assert found.data["metadata"] == {"name": "items"}  # type: ignore[index,call-overload]  # plain data
    assert canonical_json(found.data) == found.canonical


def test_an_unchanged_file_is_not_read_again() -> None:
    cache = Cache()
    files = {"a.yaml": OPEN.encode(), "b.yaml": PROVIDER.encode(), "c.yaml": PER_KEY.encode()}
    before = load(files, cache)
    del files["c.yaml"]
    after = load(files | {"b.yaml": PROVIDER.replace("example", "other").encode()}, cache)
    assert after.policies[0].leaf is before.policies[0].leaf
    assert after.providers[0].leaf is not before.providers[0].leaf
    again = load(files | {"c.yaml": PER_KEY.encode()}, cache)
    assert again.limits[0].leaf is before.limits[0].leaf
    assert again.revision == before.revision


def test_the_faults_of_a_broken_file_are_told_again_from_the_cache() -> None:
    cache = Cache()
    for _ in range(2):
        with pytest.raises(SnapshotRejected) as caught:
            load({"a.yaml": b"a: ["}, cache)
        assert len(caught.value.faults) == 1


def test_what_could_be_read_comes_with_the_faults_where_that_is_asked_for() -> None:
    found, told = load_lenient({"a.yaml": OPEN.encode(), "b.yaml": b"a: ["})
    assert [one.name for one in found.policies] == ["items"]
    assert len(told) == 1


def test_a_reference_into_a_broken_file_is_not_blamed() -> None:
    reader = policy("effect: allow, identity: [keys]")
    assert faults_of_files(
        {"a.yaml": reader.encode(), "b.yaml": PROVIDER.replace("apiKey", "apKey").encode()}
    ) == ["b.yaml:4:28: unknown field `spec.apKey`: did you mean `apiKey`?"]


def test_a_flood_of_faults_is_cut_off() -> None:
    rules = ", ".join(f"{{name: r{n}, effect: allow}}" for n in range(200))
    told = faults(document("Policy", "p", f"{{hosts: [a], rules: [{rules}]}}"))
    assert len(told) == 51
    assert "`identity`" in told[0], "the first one that is told can be mended"
    assert told[-1].endswith(": the file has more faults: mend these first")
    dangling = [policy(f"effect: allow, identity: [p{n}]", name=f"p{n}") for n in range(600)]
    told = faults(*dangling)
    assert len(told) == 501


def test_documents_are_compared_by_identity() -> None:
    one, two = (loaded(OPEN).policies[0] for _ in range(2))
    assert one != two
    assert len({one, two}) == 2


def test_a_customer_may_leave_out_the_only_name_space() -> None:
    customer = document("Customer", "acme", "{labels: {tier: gold}}")
    found = loaded(PROVIDER, customer)
    assert found.namespaces == {"example"}
    assert found.customer_namespace(found.customers[0]) == "example"


def test_keys_and_limits_give_what_other_rooms_reckon_with() -> None:
    found = loaded(PROVIDER, PER_KEY, PER_CUSTOMER, key(more=", limits: {per-key: {rate: 60/min, burst: 5}}"))
    (override,) = (found.keys[0].spec.limits or {}).values()
    rate = override.to_rate()
    assert (rate.rate_per_s, rate.burst_tokens, rate.window_s) == (1.0, 5.0, 60)
    rate = found.limits[1].spec.to_rate()
    assert (rate.rate_per_s, rate.burst_tokens, rate.window_s) == (100.0, 100.0, 1)


def _no_document(found: Loaded) -> tuple[Document[Model], ...]:
    return (*found.policies, *found.providers)


def test_an_empty_set_is_a_value_without_documents() -> None:
    assert _no_document(Loaded()) == ()

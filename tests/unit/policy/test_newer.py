"""A set that this program is too old for is told apart from one that is wrong."""

from __future__ import annotations

import pytest

from authz.model.errors import Place, PolicyError, SnapshotRejected
from authz.policy.load import load
from authz.policy.newer import need_newer, newer_flaw
from tests.support.documents import PROVIDER, policy

OPEN = policy("effect: allow, identity: [anyone]")


def rejected(text: str) -> list[PolicyError]:
    with pytest.raises(SnapshotRejected) as caught:
        load({"f.yaml": text.encode()})
    return caught.value.faults


@pytest.mark.parametrize("version", ["v1", "v2", "v1beta1", "v1alpha2", "v10", "v2alpha12"])
def test_another_version_of_our_group_needs_a_newer_authz(version: str) -> None:
    (fault,) = rejected(OPEN.replace("v1alpha1", version))
    assert fault.newer
    assert fault.what == (
        f"needs a newer authz: this one reads `policy.authz/v1alpha1`, not `policy.authz/{version}`;"
        " upgrade it first"
    )
    assert str(fault.place) == "f.yaml:1:13"


def test_what_a_newer_version_says_besides_is_not_judged() -> None:
    text = "apiVersion: policy.authz/v3\nkind: Novelty\nfoo: {bar: [1]}\n"
    (fault,) = rejected(text)
    assert fault.newer


@pytest.mark.parametrize("kind", ["Data", "SigningKey"])
def test_a_later_kind_needs_a_newer_authz(kind: str) -> None:
    (fault,) = rejected(
        f"apiVersion: policy.authz/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n"
    )
    assert fault.newer
    assert fault.what.startswith(f"needs a newer authz: this one knows no kind `{kind}`; upgrade it first")


@pytest.mark.parametrize(
    "version",
    [
        "policy.authz/v1alpah1",
        "policy.authz/",
        "policy.authz/v0",
        "policy.authz/v1\u0661",
        "policy.authz/v1/v2",
        "apps/v1",
        "v1",
        "7",
        "true",
    ],
)
def test_a_slip_of_the_pen_is_no_newer_version(version: str) -> None:
    faults = rejected(OPEN.replace("policy.authz/v1alpha1", version))
    assert faults
    assert not need_newer(faults)


def test_an_unknown_kind_of_our_version_is_a_slip_of_the_pen() -> None:
    assert not need_newer(rejected("apiVersion: policy.authz/v1alpha1\nkind: Polcy\n"))
    assert newer_flaw(["a", "list"]) is None


def test_one_such_document_is_enough() -> None:
    faults = rejected("---\n".join((PROVIDER, OPEN.replace("v1alpha1", "v1"), "kind: Polcy\n")))
    assert [fault.newer for fault in faults] == [True, False]
    assert need_newer(faults)
    assert not need_newer(())
    assert not need_newer([PolicyError(Place("a"), "wrong")])


def test_what_is_declared_and_not_supported_yet_needs_a_newer_one_too() -> None:
    spec = (
        "{jwt: {issuer: 'https://i.example.com', audiences: [a], algorithms: [RS256],"
        " jwks: {file: /k}, in: [{header: authorization, scheme: Bearer}]}}"
    )
    text = f"apiVersion: policy.authz/v1alpha1\nkind: IdentityProvider\nmetadata: {{name: c}}\nspec: {spec}\n"
    assert [fault.newer for fault in rejected(text)] == [True]

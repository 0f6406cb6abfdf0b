from __future__ import annotations

import pytest

from authz.policy.kind_test import TestCase
from authz.policy.loaded import Loaded
from authz.rehearsal.testing.affected import PATTERNS_MAX, Affected
from authz.snapshot.build import Surroundings
from tests.support.policies import PROVIDER, MadeKey, load
from tests.support.rehearsals import asked, cases

KEYS = (MadeKey("one"), MadeKey("two"))
ON_A = cases(
    f"{asked('/', 'a.example.com')}, credential: {{key: one}}, expect: {{outcome: allow}}", name="on-a"
)
ON_B = cases(
    f"{asked('/', 'B.example.com:443')}, credential: {{key: two}}, expect: {{outcome: allow}}", name="on-b"
)
LIMIT = "kind: Limit\nmetadata: {name: l}\nspec: {per: [identity.key_id], rate: 1/s}"
SITE = "kind: Site\nmetadata: {name: s}\nspec: {hosts: [c.example.com]}"
CUSTOMER = "kind: Customer\nmetadata: {name: acme}\nspec: {labels: {tier: gold}}"


def policy(name: str, *hosts: str, rule: str = "") -> str:
    return (
        f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  hosts: [{', '.join(hosts)}]\n"
        f"  rules: [{{name: r, effect: allow, identity: [partner-keys]{rule}}}]"
    )


A, B = policy("a", "a.example.com"), policy("b", "b.example.com")
BEFORE = (PROVIDER, *(key.document for key in KEYS), A, B, LIMIT, ON_A, ON_B)


def loaded(*texts: str) -> Loaded:
    return load(*texts, surroundings=Surroundings()).loaded


def asked_of(*texts: str, before: Loaded | None = None) -> str:
    """Say which tests are asked when a set becomes another: `a`, `b`, `ab` or nothing."""
    affected = Affected(before or loaded(*BEFORE), loaded(*texts))
    found = ""
    for test in loaded(*texts).tests:
        case: TestCase = test.spec.cases[0]
        found += test.name[-1] if affected.test(test.name) or affected.case(case) else ""
    return found


def replaced(old: str, new: str) -> tuple[str, ...]:
    return tuple(new if text == old else text for text in BEFORE)


def test_nothing_is_asked_where_nothing_changed_however_it_is_filed() -> None:
    assert asked_of(*BEFORE) == ""
    assert asked_of(*reversed(BEFORE)) == ""


def test_everything_is_asked_where_nothing_is_known() -> None:
    affected = Affected(None, loaded(*BEFORE))
    assert affected.test("on-a") is affected.test("on-b") is True


def test_a_policy_affects_the_hosts_that_it_has_and_had() -> None:
    assert asked_of(*replaced(A, policy("a", "a.example.com", rule=", methods: [GET]"))) == "a"
    assert asked_of(*replaced(A, policy("a", "b.example.com"))) == "ab"
    assert asked_of(*[text for text in BEFORE if text != A]) == "a"
    assert asked_of(*BEFORE, policy("new", "c.example.com")) == ""
    assert asked_of(*BEFORE, policy("new", "'{tenant}.example.com'")) == "ab"
    assert asked_of(*BEFORE, policy("new", "'*'")) == "ab"


def test_a_key_affects_the_cases_that_name_it() -> None:
    again = MadeKey("two", scopes="other")
    assert asked_of(*replaced(KEYS[1].document, again.document)) == "b"


def test_a_test_that_changed_is_asked() -> None:
    assert asked_of(*replaced(ON_B, ON_B.replace("outcome: allow", "outcome: deny"))) == "b"
    assert asked_of(*replaced(ON_B, ON_B.replace("12:00:00Z", "13:00:00Z"))) == "b"


@pytest.mark.parametrize(
    "document", [SITE, CUSTOMER, PROVIDER.replace("partner-keys", "new"), LIMIT.replace("l}", "m}")]
)
def test_whatever_else_changes_everything_is_asked(document: str) -> None:
    assert asked_of(*BEFORE, document) == "ab"
    assert asked_of(*BEFORE, before=loaded(*BEFORE, document)) == "ab"


def test_a_host_that_cannot_be_read_is_always_asked() -> None:
    odd = cases(f"{asked('/', 'not a host')}, expect: {{outcome: deny}}", name="on-c")
    assert asked_of(*BEFORE, odd, before=loaded(*BEFORE, odd)) == "c"


def test_many_changed_policies_affect_everything() -> None:
    many = [policy(f"p{number}", f"p{number}.example.com") for number in range(PATTERNS_MAX + 1)]
    assert asked_of(*BEFORE, *many[1:]) == ""
    assert asked_of(*BEFORE, *many) == "ab"

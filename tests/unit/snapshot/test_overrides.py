"""The emergency brake: loaded on its own, asked first."""

from __future__ import annotations

import pytest

from authz.check import Call, judge, reply, review
from authz.limits.guard import Guard
from authz.model.decision import Answered, Deny
from authz.model.errors import Place, PolicyError
from authz.model.identity import NOBODY
from authz.record.entry import FixedFields, encode
from authz.record.tally import Tally
from authz.response.message import ID_PLACEHOLDER
from authz.response.refusal import Refuser
from authz.snapshot.parts import OVERRIDES, PLATFORM, SCOPES, Files
from tests.support.checks import check_request
from tests.support.documents import PROVIDER, document, join, key
from tests.support.parts import Contents, Repository, Served, decided, judged, opening, scope

STOP = opening("stop", "a.example.com", "effect: deny, paths: ['/pay/**']")
SET = join(opening("a"), opening("b"))


def braked(overrides: Contents | None, policies: str = SET) -> Served:
    served = Served()
    assert served.offer(Repository({"set.yaml": policies}, overrides=overrides)) == {}
    return served


def test_an_override_denies_what_the_set_allows() -> None:
    served = braked({"stop.yaml": STOP})
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"
    assert served.ask("a.example.com", "/") == "allow a/r"
    assert served.ask("b.example.com", "/pay/x") == "allow b/r"


def test_an_override_speaks_before_401_and_before_no_matching_policy() -> None:
    policies = join(opening("a", rule="effect: allow, identity: [keys]"), PROVIDER, key())
    served = braked({"stop.yaml": STOP}, policies)
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"
    assert served.ask("a.example.com", "/pay/x", x_api_key="nonsense") == "denied_by_rule stop/r"
    assert served.ask("a.example.com", "/", x_api_key="nonsense") == "credential_invalid"
    served = braked({"stop.yaml": opening("stop", "*", "effect: deny")})
    assert served.ask("nobody.example.com") == "denied_by_rule stop/r"


def test_what_cannot_be_read_is_refused_before_overrides_are_asked() -> None:
    served = braked({"stop.yaml": opening("stop", "*", "effect: deny")})
    assert served.ask("a.example.com", "/a/../b") == "bad_request"


def test_an_override_sees_the_caller_as_resolved() -> None:
    by_name = "effect: deny, when: 'identity.customer == \"acme\"'"
    served = braked({"stop.yaml": opening("stop", "*", by_name)}, join(SET, PROVIDER, key()))
    assert served.ask("a.example.com") == "allow a/r"


def test_an_override_whose_condition_fails_denies() -> None:
    served = braked(
        {"stop.yaml": opening("stop", "*", 'effect: deny, when: \'request.headers["x-none"] == ""\'')}
    )
    assert served.ask("a.example.com") == "rule_error stop/r"
    assert served.ask("a.example.com", x_none="v") == "allow a/r"


def test_both_readings_of_a_path_are_asked() -> None:
    site = document("Site", "s", "{hosts: [a.example.com], path: {matrixParameters: keep}}")
    stop = opening("stop", "a.example.com", "effect: deny, paths: [/pay]")
    served = braked({"stop.yaml": stop}, join(SET, site))
    assert served.ask("a.example.com", "/pay;x=1") == "denied_by_rule stop/r"
    exact = opening("stop", "a.example.com", "effect: deny, when: request.url_path.contains(';')")
    served = braked({"stop.yaml": exact}, join(SET, site))
    assert served.ask("a.example.com", "/pay;x=1") == "denied_by_rule stop/r"


def test_the_guard_is_asked_first_and_not_charged_by_an_override() -> None:
    site = document("Site", "s", "{hosts: [a.example.com], guard: {rate: 1/h}}")
    served = braked({"stop.yaml": STOP}, join(SET, site))
    assert served.snapshot is not None
    guard = Guard(lambda: 0)
    call = Call(1, check_request("GET", "/pay/x", "a.example.com"))
    for _ in range(5):
        decision = judge(call, served.snapshot, guard, 0).decision
        assert isinstance(decision, Deny)
        assert decision.override
    bad = Call(1, check_request("GET", "//", "a.example.com"))
    for _ in range(3):
        judge(bad, served.snapshot, guard, 0)
    decision = judge(call, served.snapshot, guard, 0).decision
    assert isinstance(decision, Deny)
    assert str(decision.reason) == "guarded"


def test_documents_in_shadow_are_asked_about_what_was_stopped() -> None:
    shadow = opening("next", "a.example.com", "effect: deny", ", mode: shadow")
    served = braked({"stop.yaml": STOP}, join(SET, shadow))
    assert served.snapshot is not None
    found = review(judged(served.snapshot, "a.example.com", "/pay/x"), served.snapshot)
    assert found is not None
    (shade,) = found.settled()
    assert (shade.policy, shade.changes) == ("next", False)


def test_without_an_override_that_fits_replies_are_the_same_to_the_byte() -> None:
    plain, with_brake = braked(None), braked({"stop.yaml": STOP})
    refuser = Refuser("s")
    for host, path in (("a.example.com", "/"), ("b.example.com", "/pay"), ("c.example.com", "/")):
        replies = set()
        for served in (plain, with_brake):
            assert served.snapshot is not None
            replies.add(
                reply(judged(served.snapshot, host, path), served.snapshot, refuser, ID_PLACEHOLDER).payload
            )
        assert len(replies) == 1


def test_a_stopped_request_is_refused_like_any_other_and_recorded_as_an_override() -> None:
    served = braked({"stop.yaml": STOP})
    assert served.snapshot is not None
    check = judged(served.snapshot, "a.example.com", "/pay/x")
    assert reply(check, served.snapshot, Refuser("s"), ID_PLACEHOLDER).status == 403
    answered = Answered("id", 0, check.request, NOBODY, check.decision, 403, 1)
    line = encode(answered, FixedFields("s", "r"), 1)
    assert b'"policy":"stop","rule":"r"' in line
    assert b'"override":true' in line
    tally = Tally()
    tally.add(answered)
    assert list(tally.rules_overriding.values()) == [1]
    assert tally.rules_denied == {}


def test_a_broken_set_never_keeps_the_brake_from_working_nor_the_brake_the_set() -> None:
    repository = Repository({"set.yaml": SET}, overrides={})
    served = Served()
    assert served.offer(repository) == {}
    repository.policies["set.yaml"] = "kind: ["
    repository.overrides = {"stop.yaml": STOP}
    assert set(served.offer(repository)) == {PLATFORM}
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"
    repository.policies["set.yaml"] = opening("a", rule="effect: deny")
    repository.overrides = {"stop.yaml": "kind: ["}
    assert set(served.offer(repository)) == {OVERRIDES}
    assert served.ask("a.example.com", "/") == "denied_by_rule a/r"
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"


def test_scope_documents_may_be_broken_too() -> None:
    repository = Repository({"set.yaml": SET}, scopes={"s.yaml": scope("x")}, overrides={})
    repository.policies["teams/x/p.yaml"] = opening("x")
    served = Served()
    assert served.offer(repository) == {}
    repository.scopes = {"s.yaml": "kind: ["}
    repository.overrides = {"stop.yaml": STOP}
    assert set(served.offer(repository)) == {SCOPES}
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"


def test_the_brake_is_released_by_a_file_without_documents_and_by_nothing_less() -> None:
    repository = Repository({"set.yaml": SET}, overrides={"stop.yaml": STOP})
    served = Served()
    assert served.offer(repository) == {}
    repository.overrides = {}
    (fault,) = served.offer(repository)[OVERRIDES]
    assert "leave a `.yaml` file with a comment in it" in fault
    assert served.ask("a.example.com", "/pay/x") == "denied_by_rule stop/r"
    repository.overrides = {"stop.yaml": "# released\n---\n# here, too\n"}
    assert served.offer(repository) == {}
    assert served.ask("a.example.com", "/pay/x") == "allow a/r"
    assert served.snapshot is not None
    assert served.snapshot.overrides is None


def test_overrides_that_were_never_good_keep_everything_from_being_served() -> None:
    served = Served()
    assert set(served.offer(Repository({"set.yaml": SET}, overrides={"s.yaml": "kind: ["}))) == {OVERRIDES}
    assert served.snapshot is None
    reading = Repository({"set.yaml": SET}).reading()
    missing = Files({}, (PolicyError(Place("overrides"), "no such file or directory"),), ("overrides",))
    assert set(served.take(served.assembly.offer(reading._replace(overrides=missing), 0))) == {OVERRIDES}
    assert served.snapshot is None
    assert served.offer(Repository({"set.yaml": SET}, overrides={})) == {}
    assert served.snapshot is not None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (opening("x"), "an override only denies: write `effect: deny`"),
        (opening("x", rule="effect: deny, identity: [keys]"), 'write `when: identity.provider == "keys"`'),
        (opening("x", rule="effect: deny", more=", mode: shadow"), "in force at once: remove `mode`"),
        (
            opening("x", rule="effect: deny", more=", onAllow: {headers: {x-a: '\"a\"'}}"),
            "it sets no headers: remove `onAllow`",
        ),
        (
            document("Limit", "l", "{per: [identity.key_id], rate: 1/s}"),
            "an override is a Policy with deny rules",
        ),
        (opening("x", rule="effect: deny, limits: [l]"), "a deny rule spends nothing"),
        (opening("x", rule="effect: deny, when: nonsense"), "nonsense"),
        (join(opening("x", rule="effect: deny"), opening("x", rule="effect: deny")), "is taken by"),
    ],
)
def test_an_override_only_denies_and_depends_on_nothing_else(text: str, fault: str) -> None:
    served = Served()
    rejected = served.offer(Repository({"set.yaml": SET}, overrides={"o.yaml": text}))
    assert any(fault in one for one in rejected[OVERRIDES]), rejected


def test_names_of_overrides_may_be_those_of_the_set() -> None:
    served = braked({"stop.yaml": opening("a", "a.example.com", "effect: deny")})
    assert served.ask("a.example.com") == "denied_by_rule a/r"


def test_the_revision_covers_overrides_and_a_policy_that_moves_there_changes_it() -> None:
    revisions = []
    for policies, overrides in (
        (SET, None),
        (SET, {"o.yaml": "# none\n"}),
        (SET, {"o.yaml": STOP}),
        (join(SET, STOP), None),
    ):
        served = braked(overrides, policies)
        assert served.snapshot is not None
        assert served.snapshot.fixed.revision == served.snapshot.revision
        revisions.append(served.snapshot.revision)
    plain, empty, braking, moved = revisions
    assert plain == empty
    assert len({plain, braking, moved}) == 3


def test_a_request_whose_body_or_time_an_override_reads_is_read_with_it() -> None:
    served = braked({"o.yaml": opening("stop", "*", "effect: deny, when: size(request.body) > 3")})
    assert served.snapshot is not None
    assert served.snapshot.reading.body
    assert not served.snapshot.reading.time
    assert decided(served.snapshot, "a.example.com") == "allow a/r"

"""Each part of a set is good or broken on its own."""

from __future__ import annotations

from typing import Any

from authz.model.errors import Place, PolicyError
from authz.snapshot.assembly import Assembly, concerned
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.parts import OVERRIDES, PLATFORM, SCOPES, Files, Reading
from tests.support.documents import document, join
from tests.support.parts import Repository, Served, opening, scope

BROKEN = "kind: ["
BASE = opening("base", "*", "effect: allow, identity: [anyone], paths: [/health]")


def two_teams() -> Repository:
    return Repository(
        {"base.yaml": BASE, "teams/a/p.yaml": opening("a"), "teams/b/p.yaml": opening("b")},
        {"scopes.yaml": join(scope("a"), scope("b"))},
    )


def started(repository: Repository) -> Served:
    served = Served()
    assert served.offer(repository) == {}
    return served


def test_what_does_not_fit_on_a_cluster_is_one_teams_fault() -> None:
    limit = document("Limit", "per-network", "{per: [client.network], rate: 5/s}")
    repository = two_teams()
    repository.policies["limit.yaml"] = limit
    served = Served(clustered=True)
    assert served.offer(repository) == {}
    for team, identity in (("a", "anyone"), ("b", "anonymous")):
        rule = f"effect: allow, identity: [{identity}], limits: [per-network], paths: [/new]"
        repository.policies[f"teams/{team}/p.yaml"] = opening(team, rule=rule)
    rejected = served.offer(repository)
    assert set(rejected) == {"scope:a"}
    assert "`per-network` is not supported yet on Cluster in this rule" in rejected["scope:a"][0]
    assert served.ask("a.example.com") == "allow a/r"
    assert served.ask("b.example.com", "/new") == "limited b/r"
    assert Served().offer(repository) == {}


def test_without_scopes_and_overrides_there_is_one_part() -> None:
    served = started(Repository({"a.yaml": opening("a")}))
    assert set(served.outcome.active) == {PLATFORM}
    assert served.ask("a.example.com") == "allow a/r"
    assert served.snapshot is not None
    assert served.snapshot.closed is None
    assert served.snapshot.overrides is None
    assert served.snapshot.reading.owned_of is None


def test_every_scope_is_a_part() -> None:
    served = started(two_teams())
    assert set(served.outcome.active) == {PLATFORM, SCOPES, "scope:a", "scope:b"}
    assert served.ask("a.example.com") == "allow a/r"
    assert served.ask("b.example.com") == "allow b/r"
    assert served.ask("c.example.com", "/health") == "allow base/r"


def test_one_teams_typo_does_not_block_another_team() -> None:
    repository = two_teams()
    served = started(repository)
    repository.policies["teams/a/p.yaml"] = BROKEN
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    rejected = served.offer(repository)
    assert set(rejected) == {"scope:a"}
    assert rejected["scope:a"][0].startswith("policies/teams/a/p.yaml:2:")
    assert served.ask("a.example.com") == "allow a/r"
    assert served.ask("b.example.com") == "denied_by_rule b/r"


def test_a_scope_that_was_never_good_has_its_hosts_closed() -> None:
    repository = two_teams()
    repository.policies["teams/a/p.yaml"] = BROKEN
    served = Served()
    assert set(served.offer(repository)) == {"scope:a"}
    assert served.ask("a.example.com", "/health") == "not_ready"
    assert served.ask("b.example.com", "/health") == "allow b/r"
    assert served.ask("c.example.com", "/health") == "allow base/r"
    assert served.ask("a.example.com", "//") == "bad_request"  # what cannot be read is refused as ever
    repository.policies["teams/a/p.yaml"] = opening("a")
    assert served.offer(repository) == {}
    assert served.ask("a.example.com", "/health") == "allow a/r"


def test_a_scope_without_documents_has_its_hosts_closed_and_says_so() -> None:
    repository = two_teams()
    del repository.policies["teams/a/p.yaml"]
    served = Served()
    (fault,) = served.offer(repository)["scope:a"]
    assert "no documents in the directory `teams/a`" in fault
    assert served.ask("a.example.com", "/health") == "not_ready"


def test_empty_never_replaces_good() -> None:
    repository = two_teams()
    served = started(repository)
    del repository.policies["teams/a/p.yaml"]
    assert set(served.offer(repository)) == {"scope:a"}
    assert served.ask("a.example.com") == "allow a/r"
    del repository.policies["base.yaml"]
    assert set(served.offer(repository)) == {"scope:a", PLATFORM}
    assert served.ask("c.example.com", "/health") == "allow base/r"


def test_a_broken_platform_does_not_block_a_team() -> None:
    repository = two_teams()
    served = started(repository)
    repository.policies["base.yaml"] = BROKEN
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    assert set(served.offer(repository)) == {PLATFORM}
    assert served.ask("b.example.com") == "denied_by_rule b/r"
    assert served.ask("c.example.com", "/health") == "allow base/r"


def test_without_a_good_platform_or_good_scopes_nothing_is_served() -> None:
    for broken in ("policies", "scopes"):
        repository = two_teams()
        if broken == "policies":
            repository.policies["base.yaml"] = BROKEN
        else:
            repository.scopes = {"s.yaml": BROKEN}
        served = Served()
        assert served.offer(repository)
        assert served.snapshot is None


def test_a_fault_between_two_changed_parts_is_the_later_ones() -> None:
    repository = two_teams()
    served = started(repository)
    # Its limit goes, and a team begins to use it: the platform comes first.
    repository.policies["limit.yaml"] = document("Limit", "shared", "{per: [identity.key_id], rate: 1/s}")
    assert served.offer(repository) == {}
    del repository.policies["limit.yaml"]
    using = "effect: allow, identity: [anyone], limits: [shared]"
    repository.policies["teams/a/p.yaml"] = opening("a", rule=using)
    assert set(served.offer(repository)) == {"scope:a"}
    assert "shared" not in str(served.outcome.active[PLATFORM].contents)


def test_what_an_unchanged_part_needs_cannot_go() -> None:
    repository = two_teams()
    repository.policies["limit.yaml"] = document("Limit", "shared", "{per: [identity.key_id], rate: 1/s}")
    using = "effect: allow, identity: [anyone], limits: [shared]"
    repository.policies["teams/a/p.yaml"] = opening("a", rule=using)
    served = started(repository)
    del repository.policies["limit.yaml"]
    assert set(served.offer(repository)) == {PLATFORM}
    repository.policies["teams/a/p.yaml"] = opening("a")  # both together may
    assert served.offer(repository) == {}


def test_nothing_is_built_where_nothing_changed() -> None:
    repository = two_teams()
    served = started(repository)
    assert served.offer(repository) == {}
    assert served.outcome.built is None


def test_a_part_that_goes_back_to_what_is_in_force_is_good_again() -> None:
    repository = two_teams()
    served = started(repository)
    repository.policies["teams/a/p.yaml"] = BROKEN
    assert served.offer(repository)
    repository.policies["teams/a/p.yaml"] = opening("a")
    assert served.offer(repository) == {}


def test_a_directory_that_cannot_be_read_leaves_everything_as_it_was() -> None:
    repository = two_teams()
    served = started(repository)
    fault = PolicyError(Place("policies"), "no such file or directory: name a directory that can be read")
    reading = Reading(Files({}, (fault,), ("policies",)), repository.reading().scopes)
    assert set(served.take(served.assembly.offer(reading, 0))) == {PLATFORM}
    assert served.outcome.built is None
    assert served.ask("a.example.com") == "allow a/r"


def test_what_cannot_be_read_in_a_teams_directory_is_that_teams() -> None:
    repository = two_teams()
    reading = repository.reading()
    fault = PolicyError(Place("policies/teams/a/x.yaml"), "permission denied: mend or remove it")
    served = Served()
    broken = reading._replace(policies=reading.policies._replace(faults=(fault,)))
    assert set(served.take(served.assembly.offer(broken, 0))) == {"scope:a"}


def test_a_scope_that_is_new_begins_closed_until_its_documents_are_good() -> None:
    repository = two_teams()
    served = started(repository)
    assert repository.scopes is not None
    repository.scopes["c.yaml"] = scope("c")
    repository.policies["teams/c/p.yaml"] = opening("c", "a.example.com")  # another's host
    assert set(served.offer(repository)) == {"scope:c"}
    assert served.ask("c.example.com", "/health") == "not_ready"
    repository.policies["teams/c/p.yaml"] = opening("c")
    assert served.offer(repository) == {}
    assert served.ask("c.example.com") == "allow c/r"


def test_a_scope_that_takes_over_documents_of_the_platform_keeps_them_in_force() -> None:
    repository = two_teams()
    repository.policies["teams/c/p.yaml"] = opening("c")
    served = started(repository)
    assert repository.scopes is not None
    repository.scopes["c.yaml"] = scope("c")
    repository.policies["teams/c/p.yaml"] = BROKEN
    assert set(served.offer(repository)) == {"scope:c"}
    assert served.ask("c.example.com") == "allow c/r"


def test_while_scope_documents_are_broken_the_platform_waits_and_teams_go_on() -> None:
    repository = two_teams()
    served = started(repository)
    assert repository.scopes is not None
    repository.scopes["c.yaml"] = BROKEN
    # Of a directory that the broken Scope was to bind, nothing may come into force unbound.
    repository.policies["teams/c/p.yaml"] = opening("evil", "*")
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    assert set(served.offer(repository)) == {SCOPES, PLATFORM}
    assert served.ask("d.example.com") == "no_matching_policy"
    assert served.ask("b.example.com") == "denied_by_rule b/r"
    repository.scopes["c.yaml"] = scope("c")
    assert set(served.offer(repository)) == {"scope:c"}
    assert served.ask("d.example.com") == "no_matching_policy"


def test_a_scope_is_not_narrowed_over_documents_in_force() -> None:
    repository = two_teams()
    served = started(repository)
    repository.scopes = {"s.yaml": join(scope("a", hosts="[other.example.com]"), scope("b"))}
    rejected = served.offer(repository)
    assert set(rejected) == {SCOPES}
    assert "is not among the hosts of the scope `a`" in rejected[SCOPES][0]
    repository.policies["teams/a/p.yaml"] = opening("a", "other.example.com")
    assert served.offer(repository) == {}
    assert served.ask("a.example.com") == "no_matching_policy"


def test_without_its_scope_a_directory_is_the_platforms() -> None:
    repository = two_teams()
    served = started(repository)
    repository.scopes = {"s.yaml": scope("a")}
    assert served.offer(repository) == {}
    assert "policies/teams/b/p.yaml" in served.outcome.active[PLATFORM].contents
    assert served.ask("b.example.com") == "allow b/r"
    del repository.policies["teams/b/p.yaml"]
    assert served.offer(repository) == {}
    assert served.ask("b.example.com") == "no_matching_policy"


def test_a_gate_is_asked_with_what_changed_and_its_faults_are_the_changed_parts() -> None:
    asked: list[frozenset[str]] = []
    wrong: list[PolicyError] = []

    def gate(_: Built, changed: frozenset[str]) -> list[PolicyError]:
        asked.append(changed)
        return wrong

    repository = two_teams()
    served = Served(gate)
    assert served.offer(repository) == {}
    assert asked == [{PLATFORM, SCOPES, "scope:a", "scope:b"}]
    repository.policies["teams/a/p.yaml"] = opening("a", rule="effect: deny")
    wrong.append(PolicyError(Place("policies/teams/a/t.yaml"), "the test `t` fails"))
    assert set(served.offer(repository)) == {"scope:a"}
    assert set(asked[1:]) == {frozenset({"scope:a"})}
    assert served.ask("a.example.com") == "allow a/r"


def test_the_platform_is_held_to_the_tests_of_teams() -> None:
    def gate(built: Built, changed: frozenset[str]) -> list[PolicyError]:
        names = [policy.name for policy in built.loaded.policies]
        fault = PolicyError(Place("policies/teams/a/p.yaml"), "the test `t` fails")
        return [fault] if "more" in names and PLATFORM in changed else []

    repository = two_teams()
    served = Served(gate)
    assert served.offer(repository) == {}
    repository.policies["more.yaml"] = opening("more")
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    assert set(served.offer(repository)) == {PLATFORM}
    assert served.ask("b.example.com") == "denied_by_rule b/r"


def test_a_kept_set_is_resumed_with_all_its_parts() -> None:
    repository = two_teams()
    repository.overrides = {"o.yaml": opening("stop", "b.example.com", "effect: deny")}
    earlier = started(repository)
    assert earlier.snapshot is not None
    served = Served()
    served.take(served.assembly.resume(earlier.outcome.active, earlier.snapshot.revision, 0))
    assert served.snapshot is not None
    assert served.snapshot.revision == earlier.snapshot.revision
    assert served.ask("a.example.com") == "allow a/r"
    assert served.ask("b.example.com") == "denied_by_rule stop/r"
    repository.policies["teams/a/p.yaml"] = BROKEN
    repository.overrides = {}
    assert set(served.offer(repository)) == {"scope:a", OVERRIDES}
    assert served.outcome.built is None
    assert served.ask("a.example.com") == "allow a/r"


def test_a_kept_set_of_another_revision_or_with_faults_is_not_used() -> None:
    earlier = started(two_teams())
    served = Served()
    assert served.take(served.assembly.resume(earlier.outcome.active, "0" * 12, 0))
    broken = {**earlier.outcome.active, "scope:a": Files({"policies/teams/a/p.yaml": BROKEN.encode()})}
    assert served.take(served.assembly.resume(broken, "0" * 12, 0))
    assert served.take(served.assembly.resume({}, "0" * 12, 0))
    assert served.snapshot is None
    assert served.outcome.active == {}


class Counting(Builder):
    """Counts what it is asked to build."""

    built = 0

    def build(self, *given: Any) -> Built:
        Counting.built += 1
        return super().build(*given)


def builds(served: Served, repository: Repository) -> int:
    before = Counting.built
    served.offer(repository)
    return Counting.built - before


def test_of_fifty_scopes_a_broken_one_costs_a_build_and_all_of_them_a_few() -> None:
    names = [f"t{number:02}" for number in range(50)]
    files = {f"teams/{name}/p.yaml": opening(name) for name in names}
    repository = Repository(files | {"base.yaml": BASE}, {"s.yaml": join(*map(scope, names))})
    served = Served()
    served.assembly = Assembly(Counting(Surroundings()))
    assert builds(served, repository) == 1
    repository.policies["teams/t07/p.yaml"] = BROKEN
    assert builds(served, repository) == 1
    repository.policies["teams/t08/p.yaml"] = opening("t08", rule="effect: deny")
    assert builds(served, repository) == 2
    for name in names:
        repository.policies[f"teams/{name}/p.yaml"] = BROKEN
    assert builds(served, repository) == 1
    for name in names:
        repository.policies[f"teams/{name}/p.yaml"] = opening(name, "victim.example.com")
    assert builds(served, repository) == 1
    for name in names:
        repository.policies[f"teams/{name}/p.yaml"] = opening(name, f"{name}.example.com", "effect: deny")
    repository.policies["base.yaml"] = BROKEN
    assert builds(served, repository) == 3
    assert served.ask("t49.example.com") == "denied_by_rule t49/r"


def test_the_tests_of_a_scope_are_asked_where_it_or_everything_changes() -> None:
    def a_test(name: str) -> str:
        case = f"{{name: t, request: {{host: {name}.example.com, path: /}}, expect: {{outcome: allow}}}}"
        return document("PolicyTest", name, f"{{now: 2026-06-01T12:00:00Z, cases: [{case}]}}")

    repository = two_teams()
    repository.policies["teams/a/t.yaml"] = a_test("a")
    repository.policies["teams/b/t.yaml"] = a_test("b")
    built = started(repository).outcome.built
    assert built is not None
    for changed, names in (({"scope:a"}, ["a"]), ({PLATFORM}, ["a", "b"]), ({SCOPES, "scope:b"}, ["a", "b"])):
        assert [test.name for test in concerned(built, frozenset(changed))] == names


def test_tests_that_fail_are_not_run_again_whenever_somebody_else_changes_something() -> None:
    asked: list[set[str]] = []
    fault = PolicyError(Place("policies/teams/a/p.yaml"), "the test `t` fails")

    def gate(built: Built, changed: frozenset[str]) -> list[PolicyError]:
        asked.append(set(changed))
        bad = "v2" in {rule for policy in built.loaded.policies for rule in policy.ties.rules}
        return [fault] if bad else []

    repository = two_teams()
    served = Served(gate)
    assert served.offer(repository) == {}
    repository.policies["teams/a/p.yaml"] = opening("a").replace("name: r", "name: v2")
    assert set(served.offer(repository)) == {"scope:a"}
    asked.clear()
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    assert set(served.offer(repository)) == {"scope:a"}
    assert asked == [{"scope:b"}]
    assert served.ask("b.example.com") == "denied_by_rule b/r"
    # What its tests depend on has changed: they are run again.
    repository.policies["more.yaml"] = opening("more")
    assert set(served.offer(repository)) == {"scope:a"}
    assert any("scope:a" in one for one in asked)
    repository.policies["teams/a/p.yaml"] = opening("a")
    assert served.offer(repository) == {}


def test_where_scopes_share_a_host_tests_that_failed_are_run_again() -> None:
    fault = PolicyError(Place("policies/teams/a/p.yaml"), "the test `t` fails")
    wrong = [fault]
    shared = scope("b", hosts="[b.example.com, a.example.com]")
    repository = Repository(two_teams().policies, {"s.yaml": join(scope("a"), shared)})
    served = Served(lambda _, changed: wrong if "scope:a" in changed else [])
    assert set(served.offer(repository)) == {"scope:a"}
    wrong.clear()
    repository.policies["teams/b/p.yaml"] = opening("b", rule="effect: deny")
    assert served.offer(repository) == {}

"""Whatever is changed, in whatever order: each part is good or broken on its own, and the brake holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.model.errors import SnapshotRejected
from authz.policy.load import load as load_alone
from tests.support.documents import document, join
from tests.support.parts import Contents, Repository, Served, opening, scope

NAMES = ("a", "b", "c", "d")
FILE = {"platform": "base.yaml"} | {f"scope:{name}": f"teams/{name}/p.yaml" for name in NAMES}
BROKEN = "kind: ["


def content(part: str, version: int, *, good: bool) -> str:
    """Write a version of a part that can be told apart by what it decides."""
    name = "base" if part == "platform" else part.removeprefix("scope:")
    text = document(
        "Policy",
        name,
        f"{{hosts: [{name}.example.com], rules: [{{name: v{version}, effect: allow, identity: [anyone]}}]}}",
    )
    if good:
        return text
    return (BROKEN, text.replace(f"[{name}.", "[victim."), text.replace("effect", "affect"))[version % 3]


changes = st.tuples(
    st.sampled_from(sorted(FILE)), st.sampled_from(["good", "good", "broken", "gone"]), st.integers(0, 9)
)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(changes, min_size=1, max_size=4), min_size=1, max_size=8))
def test_each_part_in_force_is_the_newest_good_one_and_nobody_feels_anothers_faults(
    steps: list[list[tuple[str, str, int]]],
) -> None:
    repository = Repository({}, {"s.yaml": join(*map(scope, NAMES))})
    best: dict[str, int] = {}
    for part in FILE:
        repository.policies[FILE[part]] = content(part, 0, good=True)
        best[part] = 0
    served = Served()
    assert served.offer(repository) == {}
    for step in steps:
        now: dict[str, tuple[str, int]] = {}
        for part, state, version in step:
            now[part] = (state, version)
            if state == "gone":
                repository.policies.pop(FILE[part], None)
            else:
                # The platform in this test is broken only in what YAML and fields can say.
                good = state == "good"
                text = content(part, version, good=good)
                if part == "platform" and not good and "victim" in text:
                    text = BROKEN
                repository.policies[FILE[part]] = text
        rejected = set(served.offer(repository))
        for part, (state, version) in now.items():
            assert (part in rejected) == (state != "good"), (part, state)
            if state == "good":
                best[part] = version
        for part, version in best.items():
            name = "base" if part == "platform" else part.removeprefix("scope:")
            assert served.ask(f"{name}.example.com") == f"allow {name}/v{version}"
        assert served.ask("victim.example.com") == "no_matching_policy"


hosts = st.sampled_from(["a.example.com", "x.example.com", "{n}.example.com", "*.example.com", "*"])
effects = st.sampled_from(
    [
        "effect: allow, identity: [anyone]",
        "effect: allow, identity: [anonymous], paths: ['/open/**']",
        "effect: deny, paths: ['/shut/**']",
        "effect: deny, methods: [POST]",
    ]
)
policies = st.lists(st.tuples(hosts, effects), max_size=4)
brakes = st.lists(
    st.tuples(
        hosts,
        st.sampled_from(
            [
                "effect: deny",
                "effect: deny, paths: ['/open/**']",
                "effect: deny, identity: [anonymous], methods: [GET]",
                "effect: deny, when: request.url_path.startsWith('/shut')",
                'effect: deny, when: \'request.headers["x-gone"] == ""\'',
            ]
        ),
    ),
    min_size=1,
    max_size=3,
)
REQUESTS = [
    (host, path, method)
    for host in ("a.example.com", "x.example.com", "a.b.example.com", "elsewhere.org")
    for path in ("/", "/open/x", "/shut/x")
    for method in ("GET", "POST")
]


def named(texts: list[tuple[str, str]], prefix: str) -> Contents:
    return {f"{prefix}{n}.yaml": opening(f"{prefix}{n}", host, rule) for n, (host, rule) in enumerate(texts)}


@settings(deadline=None, max_examples=40)
@given(policies, brakes)
def test_what_an_override_denies_is_denied_whatever_the_set_says_and_nothing_else_changes(
    texts: list[tuple[str, str]], stops: list[tuple[str, str]]
) -> None:
    base = {"base.yaml": opening("base", "base.example.org")}
    plain, braked, alone = Served(), Served(), Served()
    assert plain.offer(Repository(base | named(texts, "p"))) == {}
    assert braked.offer(Repository(base | named(texts, "p"), overrides=named(stops, "stop"))) == {}
    # What the overrides deny by themselves: of a set that allows everything.
    everything = {"all.yaml": opening("all", "*")}
    assert alone.offer(Repository(everything, overrides=named(stops, "stop"))) == {}
    for host, path, method in REQUESTS:
        stopped = alone.ask(host, path, method)
        expected = plain.ask(host, path, method) if stopped == "allow all/r" else stopped
        assert braked.ask(host, path, method) == expected
        if stopped != "allow all/r":
            assert stopped.startswith(("denied_by_rule stop", "rule_error stop"))


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_file_of_a_team_makes_an_offer_raise_or_changes_anybody_else(junk: bytes) -> None:
    repository = Repository(
        {"base.yaml": opening("base"), "teams/a/p.yaml": opening("a")},
        {"s.yaml": join(scope("a"), scope("b"))},
    )
    repository.policies["teams/b/p.yaml"] = junk.decode("utf-8", "surrogateescape")
    served = Served()
    try:
        load_alone({"x.yaml": junk})
        acceptable = True
    except SnapshotRejected:
        acceptable = False
    assert ("scope:b" in served.offer(repository)) or acceptable
    assert served.ask("base.example.com") == "allow base/r"
    assert served.ask("a.example.com") == "allow a/r"

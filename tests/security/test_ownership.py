"""What a team could write in its own directory to be felt elsewhere: each is refused, and changes nothing.

The repository: a platform, a team `evil` and its victim `good`. Every attack is a change of what `evil` may
write, and is tried in three ways: against sidecars that run, at the first start of one that has kept nothing,
and together with an honest change of the victim's.
"""

from __future__ import annotations

import pytest

from tests.support.documents import DIGEST, PER_CUSTOMER, PER_KEY, PROVIDER, document, join, key
from tests.support.parts import Repository, Served, decided, judged, opening, scope

HOSTS = ("good.example.com", "other.example.com", "api.other.example.com")
EVIL = "teams/evil/x.yaml"
EVERY_KIND = ", kinds: [Policy, Limit, PolicyTest, Site, IdentityProvider, ApiKey, Customer]"
GRANTED = f"{EVERY_KIND}, providers: [keys, evil-keys], customers: [evilcorp]"

PLATFORM = join(
    opening("base", "*", "effect: allow, identity: [anyone], paths: [/health]"),
    opening("no-admin", "*", "effect: deny, paths: ['/admin/**']"),
    document(
        "Policy",
        "shared",
        "{hosts: [other.example.com], rules: [{name: r, effect: allow, identity: [keys], paths: [/keys],"
        " limits: [per-key, per-customer]}], onAllow: {headers: {x-customer: identity.customer}}}",
    ),
    PROVIDER,
    PER_KEY,
    PER_CUSTOMER,
    key(),
    document("Customer", "acme", "{limits: {per-customer: {rate: 9/s}}}"),
    document("Site", "everywhere", '{hosts: ["*"], path: {maxBytes: 4096}}'),
)
GOOD = join(
    opening("good"),
    document("Limit", "good-limit", "{per: [identity.key_id], rate: 1/s}"),
    document(
        "PolicyTest",
        "good-test",
        "{now: 2026-06-01T12:00:00Z, cases: [{name: t, request: {host: good.example.com, path: /},"
        " expect: {outcome: allow}}]}",
    ),
)


def repository(evil: str = "") -> Repository:
    files = {"base.yaml": PLATFORM, "teams/good/p.yaml": GOOD, "teams/evil/p.yaml": opening("evil")}
    return Repository(files | ({EVIL: evil} if evil else {}), {"s.yaml": join(scope("good"), EVIL_SCOPE)})


EVIL_SCOPE = scope("evil", GRANTED, '[evil.example.com, "*.evil.example.com"]')


def a_test(case: str) -> str:
    spec = f"{{now: 2026-06-01T12:00:00Z, cases: [{{name: t, expect: {{outcome: deny}}, {case}}}]}}"
    return document("PolicyTest", "evil-test", spec)


def with_host(host: str) -> str:
    return opening("evil-more", host)


def key_of(provider: str = "keys", customer: str = "evilcorp", more: str = "", key_id: str = "A" * 12) -> str:
    secrets = f"[{{version: 1, pepper: e09102e2, digest: {DIGEST}}}]"
    spec = f"{{id: {key_id}, provider: {provider}, customer: {customer}, secrets: {secrets}{more}}}"
    return document("ApiKey", "evil-key", spec)


def provider(name: str = "evil-keys", place: str = "{header: x-api-key}", more: str = "") -> str:
    return document("IdentityProvider", name, f"{{{more}apiKey: {{in: [{place}]}}}}")


ATTACKS = {
    # Hosts of others, in every spelling of a pattern.
    "another's host": with_host("good.example.com"),
    "the host above": with_host("example.com"),
    "every host": with_host("*"),
    "every host of the domain": with_host("*.example.com"),
    "one label of the domain": with_host("{x}.example.com"),
    "a host that ends alike": with_host("notevil.example.com"),
    "in shadow": opening("evil-more", "good.example.com", more=", mode: shadow"),
    "one good host and a bad one": document(
        "Policy",
        "evil-more",
        "{hosts: [evil.example.com, good.example.com], rules: [{name: r, effect: deny}]}",
    ),
    "a denying rule for all": opening("evil-more", "*", "effect: deny"),
    "the reading of another's host": document(
        "Site", "evil-site", "{hosts: [good.example.com], reasons: full}"
    ),
    "the reading of every host": document("Site", "evil-site", '{hosts: ["*"], methodOverride: remove}'),
    # Names of others.
    "another's policy": opening("good", "evil.example.com"),
    "the platform's policy": opening("base", "evil.example.com"),
    "a name of another's to come": opening("good-next", "evil.example.com"),
    "the platform's limit": PER_KEY.replace("100/s", "1/d"),
    "another's limit": document("Limit", "good-limit", "{per: [identity.key_id], rate: 1/d}"),
    "the platform's test": document(
        "PolicyTest",
        "base-test",
        "{now: 2026-06-01T12:00:00Z, cases: [{name: t, request: {host: evil.example.com, path: /},"
        " expect: {outcome: allow}}]}",
    ),
    # Providers, keys and customers.
    "the platform's provider": provider("keys", "{header: x-other}", "customers: example, "),
    "a provider that it was not given": opening(
        "evil-more", "evil.example.com", "effect: allow, identity: [other]"
    ),
    "a provider of its own choice": provider("evil-more"),
    "a provider that reads another header": provider(place="{header: content-type}"),
    "a provider that reads a cookie": provider(place="{cookie: session}"),
    "a provider that reads the query": provider(place="{query: page}"),
    "a provider of somebody's customers": provider(more="customers: good, "),
    "the id of a key": key_of(key_id="k7Qm2VxP0aZs"),
    "a key of another customer": key_of(customer="acme"),
    "a key with the platform's limit raised": key_of(more=", limits: {per-key: {rate: 999/s}}"),
    "a key of another provider": key_of(provider="other"),
    "another customer switched off": document("Customer", "acme", "{enabled: false}"),
    "another customer's labels": document("Customer", "acme", "{customers: example, labels: {tier: gold}}"),
    "its customer with the platform's limit": document(
        "Customer", "evilcorp", "{customers: example, limits: {per-customer: {rate: 999/s}}}"
    ),
    # Limits of others.
    "draining another's bucket": opening(
        "evil-more", "evil.example.com", "effect: allow, identity: [keys], limits: [good-limit]"
    ),
    # Tests that would keep others from changing theirs.
    "a test of another's host": a_test("request: {host: good.example.com, path: /}"),
    "a test of another's host, misspelled": a_test("request: {host: 'GOOD.example.com.:443', path: /}"),
    "a test of another's limit": a_test("request: {host: evil.example.com, path: /}").replace(
        "outcome: deny", "outcome: allow, limits: [good-limit]"
    ),
    "a test of another's policy": a_test("request: {host: evil.example.com, path: /}").replace(
        "outcome: deny", "outcome: allow, policy: good"
    ),
    # Rights.
    "a scope of its own": scope("evil-more", hosts='["*"]'),
    "a header that another's key stands in": opening("evil-more", "evil.example.com").replace(
        "}]}", "}], onAllow: {headers: {x-api-key: '\"x\"'}}}"
    ),
    # Broken in every way that hides the rest of a file.
    "no document": "# nothing\n",
    "half a file": opening("evil")[:70],
    "a tag": "!!python/object:os.system {}\n",
    "aliases by the thousand": "a: &a [x]\nb: [" + "*a, " * 5000 + "]\n",
    "not UTF-8": "\udc80",
    "a newer version": opening("evil-more").replace("v1alpha1", "v9"),
}


def asked(served: Served) -> list[str]:
    """Everything that can be seen from outside the team's scope."""
    assert served.snapshot is not None
    found = [
        decided(served.snapshot, host, path, method, **headers)
        for host in HOSTS
        for path in ("/", "/health", "/admin/x", "/keys", "/x;y")
        for method in ("GET", "POST")
        for headers in ({}, {"x_api_key": "nonsense"}, {"x_http_method_override": "GET"})
    ]
    request = judged(served.snapshot, "good.example.com", content_type="text/plain", x_customer="me").request
    return [*found, str(getattr(request, "strays", request))]


PEACE = Served()
assert PEACE.offer(repository()) == {}
UNTOUCHED = asked(PEACE)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_on_running_sidecars_is_refused_and_its_own(attack: str) -> None:
    served = Served()
    assert served.offer(repository()) == {}
    assert set(served.offer(repository(attack))) == {"scope:evil"}
    assert asked(served) == UNTOUCHED
    assert served.ask("evil.example.com") == "allow evil/r"
    # The victim and the platform go on.
    changed = repository(attack)
    changed.policies["teams/good/p.yaml"] = opening("good", rule="effect: deny")
    changed.policies["more.yaml"] = opening("more")
    assert set(served.offer(changed)) == {"scope:evil"}
    assert served.ask("good.example.com") == "denied_by_rule good/r"
    assert served.ask("more.example.com") == "allow more/r"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_that_waits_for_a_first_start_closes_its_own_hosts_alone(attack: str) -> None:
    served = Served()
    assert set(served.offer(repository(attack))) == {"scope:evil"}
    assert asked(served) == UNTOUCHED
    assert served.ask("evil.example.com") == "not_ready"
    assert served.ask("x.evil.example.com", "/health") == "not_ready"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_together_with_an_honest_change_of_its_victim_stops_nobody(attack: str) -> None:
    served = Served()
    assert served.offer(repository()) == {}
    changed = repository(attack)
    changed.policies["teams/good/p.yaml"] = opening("good", rule="effect: deny")
    assert set(served.offer(changed)) == {"scope:evil"}
    assert served.ask("good.example.com") == "denied_by_rule good/r"


def test_what_a_team_may_do_it_can() -> None:
    honest = join(
        opening(
            "evil-more", "x.evil.example.com", "effect: allow, identity: [keys, evil-keys], limits: [per-key]"
        ),
        document("Limit", "evil-limit", "{per: [identity.key_id], rate: 1/s}"),
        provider(),
        key_of("evil-keys", more=", limits: {evil-limit: {rate: 2/s}}"),
        document("Customer", "evilcorp", "{customers: example}"),
        document("Site", "evil-site", "{hosts: [x.evil.example.com], reasons: full}"),
        a_test("request: {host: x.evil.example.com, path: /}, credential: {key: evil-key}"),
        opening("evil", "evil.example.com"),
    )
    served = Served()
    granted = repository()
    granted.policies["base.yaml"] = PLATFORM.replace(
        "metadata: {name: acme}\nspec: {limits", "metadata: {name: acme}\nspec: {customers: example, limits"
    )
    granted.policies["teams/evil/p.yaml"] = honest
    assert served.offer(granted) == {}
    assert asked(served) == UNTOUCHED


@pytest.mark.parametrize("header", ["content-type", "accept", "x-evil", "if-none-match"])
def test_a_header_that_a_team_sets_is_taken_from_its_own_requests_alone(header: str) -> None:
    setting = opening("evil-more", "evil.example.com").replace(
        "}]}", f"}}], onAllow: {{headers: {{{header}: '\"x\"'}}}}}}"
    )
    served = Served()
    assert served.offer(repository(setting)) == {}
    assert served.snapshot is not None
    for host, stripped in (("good.example.com", ()), ("evil.example.com", (header,))):
        request = judged(served.snapshot, host, **{header: "theirs"}).request
        assert getattr(request, "strays", None) == stripped
    # What the platform sets is taken from everybody's.
    for host in HOSTS:
        assert getattr(judged(served.snapshot, host, x_customer="me").request, "strays", None) == (
            "x-customer",
        )


LINKS = {
    "into another's directory": {"policies/teams/evil/x": "/policies/teams/good"},
    "to another's file": {"policies/teams/evil/x.yaml": "/policies/teams/good/p.yaml"},
    "to a file of the platform": {"policies/teams/evil/x.yaml": "/policies/base.yaml"},
    "to the whole set": {"policies/teams/evil/x": "/policies"},
    "to a directory that begins alike": {"policies/teams/evil/x": "/policies/teams/evil-twin"},
}


@pytest.mark.parametrize("links", LINKS.values(), ids=LINKS)
def test_a_link_out_of_its_directory_breaks_the_teams_own_part_alone(links: dict[str, str]) -> None:
    served = Served()
    assert served.offer(repository()) == {}
    linking = repository()
    linking.links = links
    assert set(served.offer(linking)) == {"scope:evil"}
    first = Served()
    assert set(first.offer(linking)) == {"scope:evil"}
    assert asked(first) == UNTOUCHED


def test_a_link_of_the_platforms_into_a_teams_directory_gives_its_documents_no_rights() -> None:
    linking = repository()
    linking.policies["aaa/p.yaml"] = opening("evil", "*")
    linking.links = {"policies/aaa": "/policies/teams/evil"}
    served = Served()
    assert "platform" in served.offer(linking)
    assert served.snapshot is None


def test_links_of_a_config_map_are_none_of_these() -> None:
    mounted = repository()
    mounted.links = {
        "policies/teams": "/policies/..2026/teams",
        "policies/teams/evil/p.yaml": "/policies/..2026/teams/evil/..data/p.yaml",
    }
    assert Served().offer(mounted) == {}
    mounted.links = {"policies/teams/evil": "/policies/..data/evil"}
    assert Served().offer(mounted) == {}


def test_a_heap_of_files_is_that_teams_own() -> None:
    heap = repository()
    heap.policies |= {f"teams/evil/{number}.yaml": "# x\n" for number in range(5001)}
    served = Served()
    rejected = served.offer(heap)
    assert set(rejected) == {"scope:evil"}
    assert "more than 5000 files in one scope" in rejected["scope:evil"][0]
    assert asked(served) == UNTOUCHED
    huge = repository()
    huge.policies |= {f"teams/evil/{number}.yaml": "#" * 1_000_000 for number in range(17)}
    assert set(Served().offer(huge)) == {"scope:evil"}


def test_the_id_of_another_teams_key_is_refused_to_whom_writes_it_second() -> None:
    keys = ", kinds: [Policy, ApiKey], providers: [keys], customers: ['*']"
    scopes = join(scope("good", keys), scope("evil", keys))
    files = {
        "base.yaml": PLATFORM,
        "teams/good/p.yaml": join(opening("good"), key("good-key", "G" * 12)),
        "teams/evil/p.yaml": opening("evil"),
    }
    served = Served()
    assert served.offer(Repository(files, {"s.yaml": scopes})) == {}
    assert served.snapshot is not None
    theirs = served.snapshot.keyring.get("G" * 12)
    files["teams/evil/k.yaml"] = key("evil-key", "G" * 12)
    rejected = served.offer(Repository(files, {"s.yaml": scopes}))
    assert set(rejected) == {"scope:evil"}
    assert "is taken by" in rejected["scope:evil"][0]
    assert served.snapshot.keyring.get("G" * 12) is theirs


def test_on_a_host_of_two_teams_the_one_that_disagrees_second_is_refused() -> None:
    scopes = join(scope("good", hosts="[api.example.com]"), scope("evil", hosts="[api.example.com]"))

    def setting(name: str, value: str) -> str:
        headers = f"}}], onAllow: {{headers: {{x-team: '\"{value}\"'}}}}}}"
        return opening(name, "api.example.com").replace("}]}", headers)

    files = {
        "teams/good/p.yaml": setting("good", "one"),
        "teams/evil/p.yaml": opening("evil", "api.example.com"),
    }
    served = Served()
    assert served.offer(Repository(files, {"s.yaml": scopes})) == {}
    files["teams/evil/p.yaml"] = setting("evil", "other")
    assert set(served.offer(Repository(files, {"s.yaml": scopes}))) == {"scope:evil"}
    assert served.ask("api.example.com") == "allow evil/r"

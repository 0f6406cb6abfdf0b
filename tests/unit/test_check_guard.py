"""Step 2 of a decision, the guard; and step 1 where a listener is bound to hosts. From bytes to bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from authz.check import Call, Check, answer
from authz.identity.keyring import Peppers
from authz.limits.guard import Guard
from authz.limits.memory import NoLimiter
from authz.model.decision import Decision, Deny
from authz.model.reason import Detail, Reason, status_of
from authz.model.request import Client
from authz.model.site import Listener, Site
from authz.request.host import served_hosts
from authz.snapshot.build import Surroundings
from authz.snapshot.snapshot import Snapshot, not_ready
from tests.support.checks import check_request
from tests.support.decisions import NOW_US, Judge
from tests.support.fronts import Bench
from tests.support.policies import PEPPER, PROVIDER, MadeKey, snapshot

KEY = MadeKey("reader")
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: ["*"]
  rules:
    - {name: read, effect: allow, paths: [/api/items], identity: [partner-keys]}
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: rare, effect: allow, paths: [/rare], identity: [partner-keys], limits: [once]}
    - {name: odd, effect: allow, paths: [/odd], identity: [anyone], when: 'request.headers["x-a"] == "b"'}
    - {name: never, effect: deny, paths: [/never]}
    - {name: broken, effect: deny, paths: [/broken], when: 'request.headers["x-a"] == "b"'}
---
kind: Limit
metadata: {name: once}
spec: {per: [identity.key_id], rate: 1/h}
"""
SITE = """
kind: Site
metadata: {name: items}
spec:
  hosts: [items.example.com]
  guard: {rate: 1/s, burst: 2}
  onDeny:
    unauthenticated: {redirect: {to: "https://login.example.com/", returnTo: next}}
"""
BROWSER = ("accept", "text/html")


def guarded(*more: str, hosts: tuple[str, ...] = (), hops: int = 0) -> Snapshot:
    listener = Listener(hosts=served_hosts(hosts), trusted_hops=hops)
    around = Surroundings(Peppers(PEPPER), listener=listener)
    return snapshot(PROVIDER, POLICY, SITE, KEY.document, *more, surroundings=around)


SET = guarded()


@pytest.fixture
def judge() -> Judge:
    return Judge(SET)


def use_up(judge: Judge, **more: Any) -> None:
    for _ in range(2):
        assert judge.ask("/api/items", key="rubbish", **more).status in (401, 302)


class Unread:
    """A keyring that nobody may look into."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError("a credential was looked at")


UNREAD: Any = Unread()


# --- the order


def test_a_network_that_used_up_the_guard_is_refused_until_it_refills(judge: Judge) -> None:
    use_up(judge)
    refused = judge.ask("/api/items", key=KEY.token)
    assert (refused.status, refused.reason, refused.message.status.code) == (429, "guarded", 8)
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-authz-reason"] == "limited"
    assert "www-authenticate" not in refused.headers
    assert "ratelimit" not in refused.headers
    judge.ticks_us = 999_999
    assert judge.ask("/api/items", key=KEY.token).status == 429
    judge.ticks_us = 1_000_000
    assert judge.ask("/api/items", key=KEY.token).allowed


def test_guarded_comes_before_anybody_looks_at_credentials(judge: Judge) -> None:
    use_up(judge)
    judge.snapshot = replace(SET, keyring=UNREAD)
    assert judge.ask("/api/items", key=KEY.token).reason == "guarded"
    with pytest.raises(AssertionError, match="a credential was looked at"):
        judge.ask("/api/items", key=KEY.token, peer="10.0.0.2")


def test_guarded_comes_before_candidates(judge: Judge) -> None:
    use_up(judge)
    for path in ("/never", "/open", "/nowhere"):
        assert judge.ask(path).reason == "guarded"


def test_a_400_stays_a_400(judge: Judge) -> None:
    use_up(judge)
    assert judge.ask("/a/../b").status == 400
    assert judge.ask("/a", method="TRACE").status == 405


def test_without_a_policy_set_nobody_is_guarded(judge: Judge) -> None:
    use_up(judge)
    judge.snapshot = not_ready("nothing")
    assert judge.ask("/api/items").status == 503


def test_other_networks_are_served(judge: Judge) -> None:
    use_up(judge)
    assert judge.ask("/api/items", key=KEY.token, peer="10.0.0.2").allowed
    assert judge.ask("/api/items", key=KEY.token, peer="::ffff:10.0.0.1").reason == "guarded"


def test_rate_limits_switched_off_leave_the_guard_on() -> None:
    judge = Judge(SET, NoLimiter())
    use_up(judge)
    assert judge.ask("/api/items", key=KEY.token).reason == "guarded"


# --- what is charged


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": "/api/items"}, 401),
        ({"path": "/api/items", "key": "rubbish"}, 401),
        ({"path": "/api/items", "key": KEY.token, "headers": [("x-api-key", KEY.token)]}, 401),
        ({"path": "/api/items", "headers": [BROWSER]}, 302),
        ({"path": "/api/items", "headers": [BROWSER], "key": "rubbish"}, 302),
        ({"path": "/a/%2e%2e/b"}, 400),
        ({"path": "/a", "method": "get"}, 400),
        ({"path": "/a", "headers": [("x-http-method-override", "PUT")]}, 400),
        ({"path": "/a", "host": "Items.Example.com.:8443", "method": "get"}, 400),
    ],
)
def test_a_fault_is_charged(judge: Judge, asked: dict[str, Any], status: int) -> None:
    assert [judge.ask(**asked).status for _ in range(2)] == [status] * 2
    assert judge.ask("/open").reason == "guarded"


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"path": "/api/items", "key": KEY.token}, 200),
        ({"path": "/open", "key": "rubbish"}, 200),  # a rule for anyone does not look
        ({"path": "/rare", "key": KEY.token}, 429),
        ({"path": "/odd"}, 403),
        ({"path": "/never"}, 403),
        ({"path": "/broken"}, 403),
        ({"path": "/nowhere"}, 403),
        ({"path": "/a", "method": "TRACE"}, 405),
        ({"path": "/" + "a" * 9000}, 414),
        ({"path": "/a", "headers": [(f"x-{number}", "1") for number in range(1001)]}, 431),
        ({"path": "/api/items", "host": "free.example.com"}, 401),
        ({"path": "/a", "host": "free.example.com", "method": "get"}, 400),
        ({"path": "/a", "host": "items.example.com/", "method": "get"}, 400),  # no Site speaks about no host
        ({"path": "/api/items", "peer": ""}, 401),
        ({"path": "/api/items", "pipe": "/run/x.sock"}, 401),
    ],
)
def test_anything_else_is_not_charged(judge: Judge, asked: dict[str, Any], status: int) -> None:
    assert {judge.ask(**asked).status for _ in range(5)} <= {status, 200 if "/rare" in asked["path"] else 0}
    assert len(judge.guard) == 0


def test_a_message_that_cannot_be_read_at_all_charges_nobody(judge: Judge) -> None:
    for payload in (b"", b"\xff", b"\0" * (5 << 20)):
        assert judge.answer(payload).status in (400, 413)
    assert len(judge.guard) == 0


def test_of_a_batch_of_faults_no_more_pass_than_the_burst(judge: Judge) -> None:
    payload = check_request(path="/api/items", host="items.example.com", headers=[("x-api-key", "rubbish")])
    done: list[Check] = []
    answer(
        [Call(number, payload) for number in range(64)], SET, NoLimiter(), judge.guard, done.extend, NOW_US
    )
    reasons = [check.decision.reason for check in done if isinstance(check.decision, Deny)]
    assert reasons == [Reason.CREDENTIAL_INVALID] * 2 + [Reason.GUARDED] * 62


def test_two_readings_of_a_path_are_charged_once() -> None:
    judge = Judge(
        guarded(SITE.replace("items", "kept").replace("  guard", "  path: {matrixParameters: keep}\n  guard"))
    )
    judge.ask("/api/items;a=b", host="kept.example.com", key="rubbish")
    assert judge.ask("/open", host="kept.example.com").allowed


# --- which Site, and whose network


def test_where_the_host_cannot_be_read_the_site_of_every_host_is_charged() -> None:
    every = SITE.replace("items.example.com", '"*"').replace("name: items", "name: every")
    judge = Judge(guarded(every))
    for host in ("a b", ""):
        assert judge.ask("/", host=host).detail == "host_invalid"
    assert judge.ask("/open", host="any.example.com").reason == "guarded"
    assert judge.ask("/open").allowed  # Sites do not inherit: this host has its own guard


def test_the_hosts_of_one_site_share_its_guard() -> None:
    judge = Judge(
        guarded(SITE.replace("items.example.com", '"*.pages.example.com"').replace("name: items", "name: p"))
    )
    for host in ("a.pages.example.com", "b.pages.example.com"):
        judge.ask("/api/items", host=host)
    assert judge.ask("/open", host="c.pages.example.com").reason == "guarded"


def test_behind_trusted_proxies_the_client_is_charged_and_not_the_proxy() -> None:
    judge = Judge(guarded(hops=1))
    mine, other = [("x-forwarded-for", "9.9.9.9, 203.0.113.1")], [("x-forwarded-for", "203.0.113.2")]
    use_up(judge, headers=mine)
    assert judge.ask("/open", headers=mine).reason == "guarded"
    assert judge.ask("/open", headers=other).allowed


def test_an_entry_that_is_no_address_charges_nobody() -> None:
    judge = Judge(guarded(hops=1))
    for _ in range(5):
        judge.ask("/api/items", headers=[("x-forwarded-for", "unknown")])
    assert len(judge.guard) == 0


def test_headers_that_cannot_be_read_charge_no_proxy() -> None:
    judge = Judge(guarded(hops=1))
    many = [(f"x-{number}", "1") for number in range(1001)]
    for _ in range(5):
        assert (
            judge.ask("/a", method="get", headers=[*many, ("x-forwarded-for", "203.0.113.1")]).status == 400
        )
    assert len(judge.guard) == 0


def test_one_guard_outlives_a_policy_set(judge: Judge) -> None:
    use_up(judge)
    judge.snapshot = guarded("kind: Customer\nmetadata: {name: acme}\nspec: {}\n")
    assert judge.ask("/open").reason == "guarded"


# --- hosts


BOUND = guarded(hosts=("Items.Example.com.", "*.pages.example.com"))


@pytest.mark.parametrize(
    "host",
    ["items.example.com", "ITEMS.example.com.:8443", "a.pages.example.com", "a.b.PAGES.example.com"],
)
def test_a_host_that_is_served_is_judged(host: str) -> None:
    assert Judge(BOUND).ask("/open", host=host).allowed


@pytest.mark.parametrize(
    "host",
    [
        "other.example.com",
        "pages.example.com",
        "xpages.example.com",
        "a.items.example.com",
        "items.example.com.evil.test",
        "example.com",
        "127.0.0.1",
        "[::1]:80",
    ],
)
def test_any_other_host_is_misdirected(host: str) -> None:
    found = Judge(BOUND).ask("/open", host=host, key=KEY.token)
    assert (found.status, found.reason, found.detail) == (421, "bad_request", "host_not_served")
    assert found.message.status.code == 3


@pytest.mark.parametrize(
    "host", ["", "items.example.com:x", "a b", "items.example.com/", "u@items.example.com"]
)
def test_what_is_no_host_is_400_even_so(host: str) -> None:
    assert Judge(BOUND).ask("/open", host=host).detail == "host_invalid"


def test_the_host_is_the_first_fault() -> None:
    found = Judge(BOUND).ask("/a/../b", method="get", host="other.example.com", headers=[("host", "x")])
    assert found.detail == "host_not_served"


def test_a_host_header_that_differs_is_ambiguous_and_not_another_host() -> None:
    assert Judge(BOUND).ask("/open", headers=[("host", "other.example.com")]).detail == "header_ambiguous"


def test_no_policy_is_asked_about_a_host_that_is_not_served() -> None:
    made = replace(BOUND, index=UNREAD)
    assert Judge(made).ask("/open", host="other.example.com").status == 421


def test_an_unserved_host_selects_no_guard(judge: Judge) -> None:
    judge.snapshot = guarded(hosts=("pages.example.com",))
    for _ in range(5):
        assert judge.ask("/api/items").status == 421
    assert len(judge.guard) == 0


def test_the_statuses_that_are_charged_are_those_of_the_contract() -> None:
    assert status_of(Reason.BAD_REQUEST, Detail.HOST_NOT_SERVED) == 421


# --- a guard that breaks


@pytest.mark.parametrize("broken", ["wait_ms", "charge"])
def test_a_guard_that_breaks_is_a_refusal(broken: str) -> None:
    class Broken(Guard):
        def wait_ms(self, site: Site, client: Client) -> int:
            return fail() if broken == "wait_ms" else 0

        def charge(self, site: Site, client: Client, decision: Decision) -> None:
            fail()

    def fail() -> int:
        raise ZeroDivisionError

    bench = Bench(lambda: SET, guard=Broken(lambda: 0))
    good = check_request(path="/api/items", host="items.example.com", headers=[("x-api-key", KEY.token)])
    front = bench.serve(good, check_request(path="/open", host="free.example.com"))
    assert [front.reply(number).denied_response.status.code for number in (1, 2)] == [503, 503]
    assert {type(crash) for crash in bench.crashes} == {ZeroDivisionError}

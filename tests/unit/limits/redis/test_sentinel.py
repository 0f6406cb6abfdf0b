"""The master that Sentinels point at: fake ones, and three real ones that promote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from authz.limits.redis.dial import Dial
from authz.limits.redis.errors import LinkFailed
from authz.limits.redis.sentinel import Sentinels, as_address
from authz.model.address import TcpAddress
from authz.model.redis_address import Login
from tests.support.fake_redis import CLOSE, Answer, FakeRedis, array
from tests.support.proxy import eventually
from tests.support.redis import Watched, sentinel_set, wait_for
from tests.support.sessions import key, session, spend, spent

ROLE = b"ROLE"


def pointing(at: FakeRedis) -> Answer:
    return array(at.address.host.encode(), str(at.address.port).encode())


def sentinels(*fakes: FakeRedis, asking: Login | None = None, serving: Login | None = None) -> Sentinels:
    return Sentinels(
        [fake.address for fake in fakes],
        "main",
        Dial(asking or Login(), connect_s=0.3),
        Dial(serving or Login(), connect_s=0.3),
    )


@pytest.fixture
def fakes() -> Iterator[list[FakeRedis]]:
    """Two Sentinels, and two servers."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeRedis()) for _ in range(4)]


def test_a_sentinel_is_asked_for_the_master_by_its_name_and_each_as_whom_it_knows(
    fakes: list[FakeRedis],
) -> None:
    first, _, master, _ = fakes
    first.answers[b"SENTINEL"] = pointing(master)
    found = sentinels(first, asking=Login("s", b"1"), serving=Login("m", b"2"))
    with closing(found.opened()) as link:
        assert link.where == master.address
    assert first.commands == [[b"AUTH", b"s", b"1"], [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main"]]
    assert master.commands == [[b"AUTH", b"m", b"2"], [b"ROLE"]]


@pytest.mark.parametrize(
    "answer",
    [
        b"$-1\r\n",
        b"-ERR unknown\r\n",
        CLOSE,
        b"",
        b"+OK\r\n",
        array(b"h"),
        array(b"", b"1"),
        array(b"h", b"x"),
        b"SSH-2.0\r\n",
    ],
)
def test_the_next_sentinel_is_asked_where_one_does_not_help_and_stays_the_first_to_be_asked(
    fakes: list[FakeRedis], answer: Answer
) -> None:
    first, second, master, _ = fakes
    first.answers[b"SENTINEL"] = answer
    second.answers[b"SENTINEL"] = pointing(master)
    found = sentinels(first, second)
    for _ in range(3):
        found.opened().close()
    assert first.count(b"SENTINEL") == 1
    assert second.count(b"SENTINEL") == 3


def test_a_sentinel_that_has_not_heard_of_the_promotion_is_not_believed(fakes: list[FakeRedis]) -> None:
    first, second, old, new = fakes
    first.answers[b"SENTINEL"], second.answers[b"SENTINEL"] = pointing(old), pointing(new)
    old.answers[ROLE] = array(b"slave", b"127.0.0.1", 1, b"connected", 0)
    with closing(sentinels(first, second).opened()) as link:
        assert link.where == new.address
    second.refuse()
    with pytest.raises(LinkFailed, match="is no master, though a Sentinel says so") as raised:
        sentinels(first).opened()
    assert raised.value.why == "readonly"


def test_a_sentinel_is_asked_on_whether_it_still_points_there(fakes: list[FakeRedis]) -> None:
    first, second, old, new = fakes
    first.answers[b"SENTINEL"] = second.answers[b"SENTINEL"] = pointing(old)
    found = sentinels(first, second)
    with closing(found.opened()) as link:
        for _ in range(3):
            assert found.still_lead(link)
        assert first.connections == 2, "one to find it, and one that is kept"
        new.answers[ROLE] = array(b"slave", b"127.0.0.1", 1, b"connected", 0)
        first.answers[b"SENTINEL"] = pointing(new)
        assert found.still_lead(link), "where it points there is no master"
        new.answers[ROLE] = array(b"master", 0, [])
        assert found.still_lead(link), "the other is asked now, and says the same as ever"
        second.answers[b"SENTINEL"] = pointing(new)
        assert not found.still_lead(link)
        first.refuse()
        second.refuse()
        found.close()
        assert found.still_lead(link), "where nobody says anything, nothing has changed"
    found.close()


def test_a_server_that_forbids_the_question_whether_it_is_the_master_is_tried(fakes: list[FakeRedis]) -> None:
    first, _, master, _ = fakes
    first.answers[b"SENTINEL"] = pointing(master)
    master.answers[ROLE] = b"-NOPERM this user has no permissions to run the 'role' command\r\n"
    sentinels(first).opened().close()


def test_a_name_that_no_sentinel_knows_and_a_password_that_is_wrong_are_told(fakes: list[FakeRedis]) -> None:
    first = fakes[0]
    first.answers[b"SENTINEL"] = b"*-1\r\n"
    with pytest.raises(LinkFailed, match=r"sentinel .* monitors no master `main`"):
        sentinels(first).opened()
    first.answers[b"SENTINEL"] = b"-NOAUTH Authentication required.\r\n"
    with pytest.raises(LinkFailed, match=r"sentinel .* NOAUTH") as raised:
        sentinels(first).opened()
    assert raised.value.why == "noauth"
    first.answers[b"AUTH"] = b"-WRONGPASS no\r\n"
    with pytest.raises(LinkFailed, match="does not take our user and password"):
        sentinels(first, asking=Login("", b"1")).opened()


def test_an_address_is_read_or_it_is_none() -> None:
    assert as_address([b"h", b"1"]) == TcpAddress("h", 1)
    assert as_address([b"h", 1, b"id"]) == TcpAddress("h", 1)
    assert as_address([b"::1", b"1"]) == TcpAddress("::1", 1)
    assert as_address([b"a\x00b", 1]) is None
    for reply in (
        None,
        [],
        [b"h"],
        [b"", 1],
        [None, 1],
        [b"\xff", 1],
        [b"h", b"x"],
        [b"h", None],
        b"h1",
        [b"h", 0],
        [b"h", 65536],
        [b"h", b"1_0"],
    ):
        assert as_address(reply) is None


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with sentinel_set("--requirepass", "pw", "--masterauth", "pw") as running:
        yield running


def test_a_promotion_is_followed_and_so_is_the_death_of_a_master(watched: Watched) -> None:
    with session(watched.url.replace("//", "//:pw@")) as made:
        assert spent(spend(made, key(1))) == [1]
        first, second = watched.servers
        watched.promote()
        wait_for(lambda: watched.leader() is second)
        # The old master takes writes for ten more seconds: whoever waited for READONLY would spend there.
        assert eventually(lambda: made.generation == 2 and made.answers(), timeout_s=8)
        assert spent(spend(made, key(2))) == [1]
        assert int(second.ask("EXISTS", key(2), password="pw")) == 1

        first.kill()
        first.start("--replicaof", "127.0.0.1", str(second.port))
        wait_for(lambda: watched.replicas() == 1)
        generation = made.generation
        second.kill()
        assert eventually(lambda: made.generation > generation and made.answers())
        assert eventually(lambda: isinstance(spend(made, key(3))[0], list))
        assert int(first.ask("EXISTS", key(3), password="pw")) == 1


def test_sentinels_may_ask_for_a_password_of_their_own() -> None:
    with sentinel_set(settings=["requirepass s", "sentinel sentinel-pass s"], password="s") as guarded:
        with session(guarded.url, sentinel=Login("", b"s")) as made:
            assert spent(spend(made, key())) == [1]
        with session(guarded.url, links=0) as made:
            assert eventually(lambda: made.facts[0].why == "noauth")

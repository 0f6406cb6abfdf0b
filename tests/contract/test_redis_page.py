"""docs/redis.md, held to a real Redis: its configuration, its users and its figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from authz.config.rooms import LimitSettings
from authz.limits.redis.keys import Keys
from authz.limits.redis.spender import RedisLimiter
from authz.limits.store import Limiter
from authz.model.limit import Rate
from authz.model.redis_address import RedisKind, parse_redis_url
from authz.record.catalogue import METRICS
from authz.wiring.clock import SystemClock
from authz.wiring.limiter import limits
from authz.wiring.shares import ALONE
from tests.support import stores
from tests.support.proxy import eventually
from tests.support.redis import RedisServer, redis_cluster, redis_server, sentinel_set
from tests.support.spending import spend
from tests.support.stores import Place, draw

PAGE = (Path(__file__).parents[2] / "docs/redis.md").read_text(encoding="utf-8")
FLAT = " ".join(PAGE.split())
CONF, USERS = re.findall(r"^```conf\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RULES = {
    line.split()[1]: line.split()[2:]
    for line in USERS.splitlines()
    if line.startswith("user ") and not line.startswith("user default")
}
SIDECAR = RULES["authz"]
OPERATOR = RULES["authz-operator"]
PASSWORDS = {"authz": "CHANGE-ME", "authz-operator": "CHANGE-ME-TOO"}


def table(name: str) -> list[list[str]]:
    """Return the rows of a table that is marked by a comment."""
    lines = PAGE.partition(f"<!-- table: {name} -->\n")[2].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2 : lines.index("")]]


def needed_with(what: str) -> tuple[list[str], list[str]]:
    """Return what the two users need besides."""
    (row,) = re.findall(rf"^\| {what} \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    first, second = (list(re.findall(r"\+[a-z|-]+", cell.replace("\\", ""))) for cell in row)
    return first, second


@pytest.fixture
def hardened(tmp_path: Path) -> Iterator[RedisServer]:
    """A server as the page sets it up."""
    path = tmp_path / "redis.conf"
    path.write_text(CONF + USERS, encoding="utf-8")
    with redis_server("--include", str(path)) as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is soon given up."""
    monkeypatch.setattr(stores, "_PATIENCE_S", 2.0)


def as_user(server: RedisServer, user: str, *words: str | int) -> Any:
    return server.ask(*words, user=user, password=PASSWORDS[user])


def url_of(server: RedisServer, database: int = 0) -> str:
    return f"redis://authz:CHANGE-ME@127.0.0.1:{server.port}/{database}"


def grown(server: RedisServer, rules: Sequence[str], name: str = "authz") -> None:
    server.ask("ACL", "SETUSER", name, "reset", *rules)


def denied(server: RedisServer) -> list[str]:
    """Return what the server refused to somebody, since it was last asked."""
    with server.client() as client:
        client.response_callbacks.clear()
        log = client.execute_command("ACL", "LOG")  # type: ignore[no-untyped-call]  # so in the library
        client.execute_command("ACL", "LOG", "RESET")  # type: ignore[no-untyped-call]  # so in the library
    return [bytes(one[one.index(b"object") + 1]).decode() for one in log]


# --- the address


@pytest.mark.parametrize("row", table("urls"), ids=lambda row: row[0])
def test_every_address_of_the_page_can_be_read(row: list[str]) -> None:
    address = parse_redis_url(row[0].strip("`"))
    for word, kind in (("Sentinels", RedisKind.SENTINEL), ("Cluster", RedisKind.CLUSTER)):
        assert (word in row[1]) == (address.kind is kind)
    assert address.tls == row[0].startswith("`rediss")


# --- the server and its users


def test_a_sidecar_needs_no_more_than_the_page_gives_it(hardened: RedisServer) -> None:
    with Place("standalone", url_of(hardened)).limiter("production") as limiter:
        (told,) = draw(limiter, spend())
    assert told.passed
    assert as_user(hardened, "authz-operator", "DBSIZE") >= 1
    for words in (
        ("KEYS", "*"),
        ("GET", "other"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("EVAL", "return 1", 0),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            as_user(hardened, "authz", *words)
    with pytest.raises(redis.exceptions.AuthenticationError):
        hardened.ask("DBSIZE")


@pytest.mark.usefixtures("impatient")
def test_a_sidecar_of_another_keyspace_is_not_let_in(hardened: RedisServer) -> None:
    place = Place("standalone", url_of(hardened))
    with pytest.raises(AssertionError, match="does not answer"), place.limiter("staging"):
        pass


@pytest.mark.parametrize("rule", [rule for rule in SIDECAR if rule.startswith("+")])
def test_each_command_that_a_sidecar_is_given_is_one_that_it_uses(rule: str) -> None:
    """Without it something is refused: while it connects, spends, or leaves."""
    refused: set[str] = set()
    command = rule[1:].partition("|")[0]  # Redis 7 says `script|load`, where 6 says `script`

    def missed() -> bool:
        refused.update(one.partition("|")[0] for one in denied(server))
        return command in refused

    with redis_server() as server:
        grown(server, [one for one in SIDECAR if one != rule])
        settings = LimitSettings(
            redis_url=parse_redis_url(url_of(server)), keyspace="production", redis_timeout_ms=1000
        )
        made = limits(settings, ALONE, SystemClock(), lambda _: None)
        made.start()
        assert eventually(lambda: missed() or all(made.stores().values()), 30.0)
        if not missed():
            draw(made.limiter, spend())
        made.close()
        assert missed(), refused


def test_with_another_database_a_sidecar_needs_to_select_it() -> None:
    more, _ = needed_with("a database other than 0")
    with redis_server() as server:
        grown(server, [*SIDECAR, *more])
        with Place("standalone", url_of(server, 3)).limiter("production") as limiter:
            draw(limiter, spend())
        assert denied(server) == []
        assert "db3" in server.ask("INFO", "keyspace")


def test_with_sentinels_a_sidecar_needs_no_more_than_the_page_gives_it() -> None:
    more, _ = needed_with("Sentinel")
    with sentinel_set() as watched:
        for server in watched.servers:
            grown(server, [*SIDECAR, *more])
        url = watched.url.replace("://", "://authz:CHANGE-ME@")
        with Place("sentinel", url).limiter("production") as limiter:
            draw(limiter, spend())
        assert [denied(server) for server in watched.servers] == [[], []]


def test_on_a_cluster_a_sidecar_needs_no_more_than_the_page_gives_it() -> None:
    more, _ = needed_with("Cluster")
    with redis_cluster() as cluster:
        for server in cluster.servers:
            grown(server, [*SIDECAR, *more])
        url = cluster.url.replace("://", "://authz:CHANGE-ME@")
        with Place("cluster", url).limiter("production") as limiter:
            assert eventually(lambda: is_whole(limiter), 30.0)
            for number in range(20):
                draw(limiter, spend()._replace(caller=("customer", "ns", str(number))))
        assert [denied(server) for server in cluster.servers] == [[]] * 6


def is_whole(limiter: Limiter) -> bool:
    """Whether every master of a Cluster is connected to."""
    assert isinstance(limiter, RedisLimiter)
    facts = limiter._session.facts  # type: ignore[attr-defined]  # each kind of session tells them
    return len(facts) == 3 and all(one.up for one in facts)


# --- what is kept


def test_keys_are_those_that_the_page_names_and_end_by_themselves() -> None:
    secret = "203.0.113.7, a customer and what else a client wrote"
    with redis_server() as server, Place("standalone", server.url).limiter("production") as limiter:
        draw(limiter, spend(value=secret))
        draw(limiter, spend()._replace(bucket=("shadow/per-key", "ns", "k1")), shadow=True)
        assert eventually(lambda: "authz:production:proof" not in names(server), 5.0)
        keys = names(server)
        assert all(server.ask("PTTL", key) > 0 for key in keys)
        sizes = [server.ask("STRLEN", key) for key in keys if not key.endswith(":fleet")]
    kinds = (r"\{[\w-]{11}\}:per-key:[\w-]{22}", r"\{[\w-]{11}\}:shadow\.per-key:[\w-]{22}", "fleet")
    assert all(any(re.fullmatch(f"authz:production:{kind}", key) for key in keys) for kind in kinds)
    assert len(keys) == len(kinds)
    assert sizes == [16, 16]


def names(server: RedisServer) -> list[str]:
    return [bytes(key).decode() for key in server.ask("KEYS", "*")]


def test_a_process_has_one_connection() -> None:
    with redis_server() as server, Place("standalone", server.url).limiter("production") as limiter:
        for number in range(10):
            draw(limiter, spend(value=str(number)))
        with server.client() as client:
            assert len(client.client_list()) == 2  # ours, and the one that asks


# --- figures

BUCKETS = 20_000
CHECKS = 300
RATE = Rate(1e6, 1e6)  # nobody is refused, and so asked about no more


def test_a_bucket_takes_the_memory_that_the_page_says() -> None:
    (said,) = re.findall(r"each about \*\*(\d+) bytes\*\*", FLAT)
    keys = Keys("default")
    with redis_server() as server, server.client() as client:
        before = client.info("memory")["used_memory"]
        pipe = client.pipeline(transaction=False)
        for number in range(BUCKETS):
            one = spend(value=str(number))._replace(caller=("customer", "ns", str(number)))
            pipe.set(keys.name(one), b"0123456789abcdef", px=600_000 + number)
        pipe.execute()
        each = (client.info("memory")["used_memory"] - before) / BUCKETS
    assert 0.75 * int(said) < each < 1.25 * int(said)  # the table of keys grows by doubling
    assert f"the key {len(keys.name(spend()))} bytes" in FLAT


@pytest.mark.parametrize("row", table("sizes"), ids=" ".join)
def test_sizes_are_worked_out_from_that(row: list[str]) -> None:
    (said,) = re.findall(r"each about \*\*(\d+) bytes\*\*", FLAT)
    callers, buckets = int(row[0].replace(",", "")), int(row[1])
    assert row[2] == f"{round(callers * buckets * int(said) / 1e6)} MB"


def test_a_check_takes_the_bytes_that_the_page_says() -> None:
    said = map(int, re.findall(r"About (\d+) bytes to Redis and (\d+) back", FLAT)[0])
    with redis_server() as server, Place("standalone", server.url).limiter("production") as limiter:
        draw(limiter, spend())
        with server.client() as client:
            before = client.info("stats")
            for number in range(CHECKS):
                draw(limiter, spend(value=str(number)), spend("per-customer", "acme", rate=RATE))
            after = client.info("stats")
    for way, each in zip(("input", "output"), said, strict=True):
        name = f"total_net_{way}_bytes"
        # Ours are among them, of which the answer to the first question is long.
        spent = after[name] - before[name] - (0 if way == "input" else len(str(before)))
        assert 0.7 * each < spent / CHECKS < 1.3 * each, way


def test_every_metric_of_the_page_is_one() -> None:
    assert set(re.findall(r"`(authz_[a-z_]+)", PAGE)) <= set(METRICS)

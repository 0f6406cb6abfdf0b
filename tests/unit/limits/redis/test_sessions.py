"""From what the operator set to connections that work."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from authz.limits.redis import mending
from authz.limits.redis.link import Timeouts
from authz.limits.redis.script import SPENDING, proof
from authz.limits.redis.sessions import open_session
from authz.model.errors import ConfigError
from authz.model.redis_address import RedisTls, parse_redis_url
from tests.support.certificates import Authority
from tests.support.fake_redis import FakeRedis, array
from tests.support.proxy import eventually
from tests.support.redis import redis_server, tls_front
from tests.support.sessions import KeptLog, key, session, spend, spent, stands

CANARY = "c4n4ry"


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority()


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> KeptLog:
    kept = KeptLog()
    monkeypatch.setattr(mending, "log", kept)
    return kept


def serving(ca: Authority, folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ca.server().written(folder, "server"))
    return context


@pytest.mark.parametrize("url", ["rediss://h", "rediss+sentinel://h/m", "rediss+cluster://h"])
def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="redis_ca: no CA certificate can be read from"):
        open_session(
            parse_redis_url(url), Timeouts(1.0), RedisTls(tmp_path / "none"), SPENDING, proof("authz:test:")
        )


@pytest.mark.parametrize("url", ["redis://h", "redis+sentinel://h/m", "redis+cluster://h"])
def test_without_tls_certificates_are_not_looked_at_and_nothing_happens_before_the_start(url: str) -> None:
    tls = RedisTls(Path("/nowhere"))
    made = open_session(parse_redis_url(url), Timeouts(1.0), tls, SPENDING, proof("authz:test:"))
    assert not made.answers()
    assert made.generation == 0
    assert not any(link.up for link in made.facts)
    made.close()


def test_a_real_server_is_spent_from_over_tls(ca: Authority, tmp_path: Path) -> None:
    tls = RedisTls(ca.written(tmp_path))
    with redis_server("--requirepass", "pw") as server, tls_front(server, serving(ca, tmp_path)) as port:
        with session(f"rediss://:pw@127.0.0.1:{port}", tls=tls) as made:
            assert spent(spend(made, *[key(number) for number in range(500)])) == [1] * 500
            server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", password="pw")
            assert eventually(lambda: made.generation == 2)
            assert stands(made)
            assert spent(spend(made, key())) == [2]
        with session(f"rediss://:pw@127.0.0.1:{port}", links=0) as made:  # a CA that nobody here trusts
            assert eventually(lambda: made.facts[0].why == "tls")
            assert not made.answers()


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_sentinels_and_nodes_of_a_cluster_prove_themselves_too(
    ca: Authority, tmp_path: Path, kind: str
) -> None:
    tls = RedisTls(ca.written(tmp_path))
    with FakeRedis(tls=serving(ca, tmp_path)) as guide, FakeRedis(tls=serving(ca, tmp_path)) as server:
        host, port = server.address.host.encode(), server.address.port
        guide.answers[b"SENTINEL"] = array(host, b"%d" % port)
        guide.answers[b"CLUSTER"] = server.answers[b"CLUSTER"] = array([0, 16383, [host, port, b"id"]])
        url = f"rediss+{kind}://{guide.address}" + ("/main" if kind == "sentinel" else "")
        with session(url, tls=tls) as made:
            assert spend(made, key()) == [[1, 7]]
        commands = len(guide.commands)
        with session(url, links=0) as made:
            assert eventually(lambda: made.facts[0].why == "tls")
        assert len(guide.commands) == commands, "nothing is asked of somebody who proves nothing"


def test_a_node_of_a_cluster_that_is_taken_for_a_server_says_how_it_is_written(kept: KeptLog) -> None:
    with FakeRedis({b"EVALSHA": b"-MOVED 1 10.0.0.1:6379\r\n"}) as fake, session(fake.url, links=0):
        assert eventually(lambda: bool(kept.lines))
    assert "REDIS_URL begins with `redis+cluster://`" in kept.lines[0][2]["what"]


def test_the_log_says_what_is_wrong_in_a_line_and_never_the_password(kept: KeptLog) -> None:
    with redis_server("--requirepass", "right") as server:
        with session(f"redis://user:{CANARY}@127.0.0.1:{server.port}", links=0):
            assert eventually(lambda: bool(kept.lines))
        with session(f"redis://:right@127.0.0.1:{server.port}"):
            pass
    assert [(level, event) for level, event, _ in kept.lines] == [
        ("warning", "redis cannot be used"),
        ("info", "limits are kept in redis"),
    ]
    assert kept.lines[0][2]["what"].endswith("does not take our user and password (WRONGPASS)")
    assert CANARY not in repr(kept.lines)


def test_a_server_that_may_evict_buckets_is_warned_of(kept: KeptLog) -> None:
    evicting = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    with redis_server(*evicting) as server, session(server.url) as made:
        server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert eventually(lambda: made.generation == 2)
    assert [event for level, event, _ in kept.lines if level == "warning"] == [
        "redis may lose buckets",
        "redis cannot be used",
    ]

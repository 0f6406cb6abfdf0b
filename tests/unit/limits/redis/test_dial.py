from __future__ import annotations

import socket
import ssl
from contextlib import closing
from pathlib import Path
from time import monotonic

import pytest

from authz.limits.redis.dial import Dial, tls_context
from authz.limits.redis.errors import LinkFailed
from authz.model.address import Address, TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.model.redis_address import NOBODY, Login, RedisTls
from tests.support.certificates import DAY, Authority
from tests.support.fake_redis import CLOSE, Answer, FakeRedis
from tests.support.redis import free_ports, redis_server

CANARY = b"c4n4ry"
AUTH = {
    # What servers say that know no AUTH, or no users: the whole command.
    b"AUTH": b"-ERR unknown command `AUTH`, with args beginning with: `u`, `%s`\r\n" % CANARY,
}


def failed(dial: Dial, address: Address) -> LinkFailed:
    with pytest.raises(LinkFailed) as raised:
        dial.open(address).close()
    line = str(raised.value)
    assert "\n" not in line
    assert CANARY.decode() not in line
    assert str(address) in line or line.startswith("redis_")
    return raised.value


@pytest.mark.parametrize(
    ("login", "db", "commands"),
    [
        (NOBODY, 0, []),
        (Login("", CANARY), 0, [[b"AUTH", CANARY]]),
        (Login("u", CANARY), 3, [[b"AUTH", b"u", CANARY], [b"SELECT", b"3"]]),
        (Login("u", b""), 0, [[b"AUTH", b"u", b""]]),
    ],
)
def test_a_server_is_told_who_we_are_and_nothing_else(
    login: Login, db: int, commands: list[list[bytes]]
) -> None:
    with FakeRedis() as server:
        with closing(Dial(login, db=db).open(server.address)):
            pass
        assert server.commands == commands


@pytest.mark.parametrize(
    ("answers", "why", "words"),
    [
        (
            {b"AUTH": b"-WRONGPASS invalid\r\n"},
            "wrongpass",
            "does not take our user and password (WRONGPASS)",
        ),
        (AUTH, "err", "does not take our user and password (ERR)"),
        ({b"AUTH": b"+QUEUED\r\n"}, "broken", "does not take our user and password"),
        ({b"AUTH": CLOSE}, "closed", "closed the connection"),
        ({b"AUTH": b""}, "timeout", "does not answer in time"),
        ({b"AUTH": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, "broken", "answers what no Redis would"),
        ({b"SELECT": b"-ERR DB index is out of range\r\n"}, "err", "does not give us database 3"),
    ],
)
def test_a_server_that_does_not_let_us_in_is_named_with_its_reason(
    answers: dict[bytes, Answer], why: str, words: str
) -> None:
    with FakeRedis(answers) as server:
        error = failed(Dial(Login("u", CANARY), db=3, connect_s=0.2), server.address)
    assert error.why == why
    assert words in str(error)


def test_nobody_there_is_told_as_the_system_tells_it(tmp_path: Path) -> None:
    dial = Dial(connect_s=1.0)
    refused = failed(dial, TcpAddress("127.0.0.1", free_ports(1)[0]))
    assert (refused.why, "connection refused" in str(refused)) == ("down", True)
    assert "no such file" in str(failed(dial, UnixAddress(tmp_path / "none.sock")))
    assert failed(dial, TcpAddress("x" * 80 + ".invalid", 6379)).why == "down"  # longer than a name may be


def test_who_does_not_take_the_connection_in_time_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = TcpAddress("127.0.0.1", full.getsockname()[1])
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex((address.host, address.port))
        assert failed(Dial(connect_s=0.1), address).why == "timeout"
        for line in waiting:
            line.close()


def test_a_user_of_a_real_server_gets_in_by_tcp_and_by_unix_socket_and_nobody_else_does() -> None:
    with redis_server(
        "--user", "u", "on", f">{CANARY.decode()}", "+@all", "~*", "--requirepass", "x"
    ) as server:
        address = TcpAddress("127.0.0.1", server.port)
        for place in (address, UnixAddress(server.socket)):
            with closing(Dial(Login("u", CANARY), db=2).open(place)) as link:
                link.ask(monotonic() + 5, "SET", "here", "1")
        assert server.ask("INFO", "keyspace", password="x").keys() == {"db2"}
        assert failed(Dial(Login("u", b"other")), address).why == "wrongpass"
        assert failed(Dial(Login("", CANARY)), address).why == "wrongpass"


# TLS: the wheel's server has none, so a fake one speaks it.


@pytest.fixture(scope="module")
def ca() -> Authority:
    return Authority()


def serving(
    authority: Authority, folder: Path, clients: Path | None = None, **names: object
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = authority.vouch(**{"addresses": ["127.0.0.1"], **names})  # type: ignore[arg-type]  # as vouch takes them
    context.load_cert_chain(*pair.written(folder, "server"))
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_a_server_that_our_ca_vouches_for_is_spoken_to(ca: Authority, tmp_path: Path) -> None:
    tls = RedisTls(ca.written(tmp_path))
    with FakeRedis(tls=serving(ca, tmp_path)) as server:
        with closing(Dial(Login("u", CANARY), tls).open(server.address)) as link:
            assert isinstance(link.ask(monotonic() + 5, "INFO"), bytes)
        assert server.words() == [b"AUTH", b"INFO"]


def test_no_password_goes_to_a_server_that_does_not_prove_who_it_is(ca: Authority, tmp_path: Path) -> None:
    other = Authority("another CA")
    cases = [
        (serving(other, tmp_path / "other"), "certificate: unable to get local issuer certificate"),
        (serving(ca, tmp_path / "name", addresses=["127.0.0.2"]), "IP address mismatch"),
        (serving(ca, tmp_path / "host", addresses=[], dns=["redis.test"]), "IP address mismatch"),
        (serving(ca, tmp_path / "old", begins=-2 * DAY, ends=-DAY), "certificate has expired"),
    ]
    for context, words in cases:
        with FakeRedis(tls=context) as server:
            error = failed(Dial(Login("u", CANARY), RedisTls(ca.written(tmp_path))), server.address)
            assert error.why == "tls"
            assert words in str(error)
            assert server.commands == []


def test_with_a_ca_of_ours_no_other_counts(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Authority("whom the system trusts")
    monkeypatch.setenv("SSL_CERT_FILE", str(system.written(tmp_path, "system")))
    with FakeRedis(tls=serving(system, tmp_path)) as server:
        Dial(tls=RedisTls()).open(server.address).close()
        assert failed(Dial(tls=RedisTls(ca.written(tmp_path))), server.address).why == "tls"


def test_where_a_server_asks_for_our_certificate_it_gets_it(ca: Authority, tmp_path: Path) -> None:
    root = ca.written(tmp_path)
    cert, key = ca.vouch("spiffe://test/authz").written(tmp_path, "client")
    with FakeRedis(tls=serving(ca, tmp_path, clients=root)) as server:
        with closing(Dial(tls=RedisTls(root, cert, key)).open(server.address)) as link:
            assert isinstance(link.ask(monotonic() + 5, "INFO"), bytes)
        # TLS 1.3 tells of a missing certificate only after the handshake.
        error = failed(Dial(Login("u", CANARY), RedisTls(root)), server.address)
        assert error.why in ("tls", "closed")


def test_a_server_without_tls_is_told_apart(ca: Authority, tmp_path: Path) -> None:
    with FakeRedis() as server:
        error = failed(Dial(tls=RedisTls(ca.written(tmp_path)), connect_s=0.3), server.address)
        assert error.why in ("tls", "timeout")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = TcpAddress("127.0.0.1", silent.getsockname()[1])
        assert failed(Dial(tls=RedisTls(ca.written(tmp_path)), connect_s=0.1), address).why == "timeout"


def test_certificates_that_cannot_be_used_are_told_in_one_line(ca: Authority, tmp_path: Path) -> None:
    root = ca.written(tmp_path)
    cert, key = ca.vouch("spiffe://test/authz").written(tmp_path, "client")
    _, other = ca.vouch("spiffe://test/authz").written(tmp_path, "other")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with pytest.raises(ConfigError, match="redis_ca: no CA certificate can be read from /nowhere"):
        tls_context(RedisTls(Path("/nowhere")))
    with pytest.raises(ConfigError, match="redis_ca: no CA certificate can be read from"):
        tls_context(RedisTls(empty))
    for pair in ((cert, other), (cert, empty), (Path("/nowhere"), key)):
        with pytest.raises(ConfigError, match="are no certificate and its key"):
            tls_context(RedisTls(root, *pair))
    with FakeRedis(tls=serving(ca, tmp_path)) as server:  # they were there at the start, and are gone now
        assert failed(Dial(tls=RedisTls(empty)), server.address).why == "tls"

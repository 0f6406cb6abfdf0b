from __future__ import annotations

from pathlib import Path

import pytest

from authz.model.address import TcpAddress, UnixAddress
from authz.model.errors import ConfigError
from authz.model.redis_address import Login, RedisAddress, RedisKind, parse_redis_url

CANARY = "c4n4ry"
HERE = TcpAddress("10.0.0.1", 6379)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://10.0.0.1", RedisAddress(RedisKind.STANDALONE, (HERE,))),
        ("redis://10.0.0.1:6379/", RedisAddress(RedisKind.STANDALONE, (HERE,))),
        ("redis://10.0.0.1/3", RedisAddress(RedisKind.STANDALONE, (HERE,), db=3)),
        (
            "rediss://:x@10.0.0.1",
            RedisAddress(RedisKind.STANDALONE, (HERE,), login=Login("", b"x"), tls=True),
        ),
        ("redis://:@10.0.0.1", RedisAddress(RedisKind.STANDALONE, (HERE,))),
        ("redis://[::1]:7000/0", RedisAddress(RedisKind.STANDALONE, (TcpAddress("::1", 7000),))),
        ("redis://[::1]", RedisAddress(RedisKind.STANDALONE, (TcpAddress("::1", 6379),))),
        (
            "unix://u:p@/run/redis.sock?db=2",
            RedisAddress(
                RedisKind.STANDALONE, (UnixAddress(Path("/run/redis.sock")),), "", 2, Login("u", b"p")
            ),
        ),
        (
            "rediss+sentinel://u:p@10.0.0.1,b:26380/my.master/4",
            RedisAddress(
                RedisKind.SENTINEL,
                (TcpAddress("10.0.0.1", 26379), TcpAddress("b", 26380)),
                "my.master",
                4,
                Login("u", b"p"),
                tls=True,
            ),
        ),
        ("redis+sentinel://a/m", RedisAddress(RedisKind.SENTINEL, (TcpAddress("a", 26379),), "m")),
        (
            "redis+cluster://10.0.0.1,b:7001/0",
            RedisAddress(RedisKind.CLUSTER, (HERE, TcpAddress("b", 7001))),
        ),
    ],
)
def test_a_url_says_where_redis_is(url: str, address: RedisAddress) -> None:
    assert parse_redis_url(url) == address
    # What it prints as says the same again, but for who we are.
    assert parse_redis_url(str(address)) == RedisAddress(
        address.kind, address.hosts, address.master, address.db, tls=address.tls
    )


def test_user_and_password_may_be_any_bytes_in_percent_codes() -> None:
    assert parse_redis_url("redis://a%40b:%00%ff%2F%3a@h").login == Login("a@b", b"\x00\xff/:")


def test_no_password_shows_when_it_is_printed() -> None:
    address = parse_redis_url(f"redis://user:{CANARY}@h/1")
    assert CANARY not in f"{address} {address!r} {address.login!r} {address.login}"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"{CANARY}:6379", "is no address of a Redis"),
        (f"http://{CANARY}", "is no address of a Redis"),
        (f"redis://h/{CANARY}\n", "is no address of a Redis"),
        (f"redis://\u00e9{CANARY}@h", "is no address of a Redis"),
        (f"redis://{CANARY}@h", "one word before the `@`"),
        (f"redis://:{CANARY}@@h", "user or password that cannot be read"),
        (f"redis://:{CANARY}/@h", "user or password that cannot be read"),
        (f"redis://:{CANARY}:@h", "user or password that cannot be read"),
        (f"redis://:{CANARY}%zz@h", "user or password that cannot be read"),
        (f"redis://%ff:{CANARY}@h", "a user that is no UTF-8"),
        (f"redis://h:{CANARY}", "a host or port that cannot be read"),
        (f"redis://:{CANARY}", "a host or port that cannot be read"),
        ("redis://h:0", "a host or port that cannot be read"),
        ("redis://", "a host or port that cannot be read"),
        ("redis://h:65536", "a host or port that cannot be read"),
        ("redis+cluster://a,,b", "a host or port that cannot be read"),
        ("redis://unix:x", "a host or port that cannot be read"),
        (f"redis://a,{CANARY}", "has several hosts"),
        (f"redis://h/{CANARY}", "a database that is no number"),
        ("redis://h/65536", "a database that is no number"),
        ("redis://h/1/2", "a path that says nothing"),
        ("redis+cluster://h/1", "a path that says nothing"),
        (f"redis://h?password={CANARY}", "has a query"),
        ("rediss://h?ssl_cert_reqs=none", "has a query"),
        ("redis+sentinel://h", "names no master"),
        (f"redis+sentinel://h/{CANARY}%20", "names no master"),
        (f"unix://{CANARY}", "no absolute path"),
        (f"unix:///a#{CANARY}", "no absolute path"),
        (f"unix:///a?password={CANARY}", "a query other than `db=N`"),
        (f"unix:///{CANARY * 20}", "a path that no Unix socket can have"),
        (f"unix+sentinel:///{CANARY}", "names a Unix socket, where neither"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_repeats_nothing_of_it(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_redis_url(url)
    line = str(raised.value)
    assert words in line
    assert "\n" not in line
    assert CANARY not in line

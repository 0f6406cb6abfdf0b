"""Whatever stands in REDIS_URL, and whatever servers say of each other, is read or refused, not repeated."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from hypothesis import given
from hypothesis import strategies as st

from authz.limits.redis.slots import SLOTS, read_redirect, read_slots
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError
from authz.model.redis_address import parse_redis_url

CANARY = "c4n4ry"
ASKED = TcpAddress("127.0.0.1", 6379)

SCHEMES = st.sampled_from(
    ["redis://", "rediss://", "unix://", "redis+sentinel://", "rediss+cluster://", "unix+cluster://", ""]
)
PIECES = st.lists(
    st.sampled_from(
        [CANARY, ":", "@", "/", "?", "#", ",", "%", "%40", "[", "]", "h", "1", "db=", " ", "\x00", "\u00e9"]
    ),
    max_size=12,
).map("".join)


@given(SCHEMES, PIECES | st.text(max_size=20))
def test_any_text_is_an_address_or_one_line_that_repeats_nothing(scheme: str, rest: str) -> None:
    try:
        address = parse_redis_url(scheme + rest)
    except ConfigError as error:
        line = str(error)
        assert "\n" not in line
        assert CANARY not in line
    else:
        again = parse_redis_url(str(address))
        assert (again.kind, again.hosts, again.master, again.db, again.tls) == (
            address.kind,
            address.hosts,
            address.master,
            address.db,
            address.tls,
        )


@given(st.text(min_size=1, max_size=10), st.binary(max_size=20))
def test_any_user_and_any_password_are_read_as_they_were_written(user: str, password: bytes) -> None:
    words = f"{quote_from_bytes(user.encode(), safe='')}:{quote_from_bytes(password, safe='')}"
    address = parse_redis_url(f"redis://{words}@h:1")
    assert (address.login.user, address.login.password) == (user, password)
    if len(password) > 3:
        assert repr(password)[2:-1] not in repr(address).replace(repr(user), "")


REPLIES = st.recursive(
    st.none() | st.integers(-2, SLOTS + 2) | st.binary(max_size=6) | st.sampled_from([b"a", b"?", b"", 7000]),
    lambda items: st.lists(items, max_size=4),
    max_leaves=20,
)


@given(REPLIES)
def test_whatever_a_node_tells_of_slots_is_a_map_or_nothing(reply: object) -> None:
    survey = read_slots(reply, ASKED)
    if survey is not None:
        assert all(
            0 <= slots.start < slots.stop <= SLOTS for owned in survey.owners.values() for slots in owned
        )
        assert all(0 < node.port < 65_536 for node in (*survey.owners, *survey.others))


@given(st.text(max_size=30) | st.from_regex(r"\A(MOVED|ASK) [0-9]{1,6} [a-z0-9.:?]{0,12}:[0-9]{0,6}\Z"))
def test_whatever_a_redirect_says_is_a_place_or_nothing(text: str) -> None:
    redirect = read_redirect(text, ASKED)
    if redirect is not None:
        slot, address = redirect
        assert 0 <= slot < SLOTS
        assert address.host
        assert 0 < address.port < 65_536

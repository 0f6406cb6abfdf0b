from __future__ import annotations

import pytest
from redis.crc import key_slot

from authz.limits.redis.slots import NODES_MAX, SLOTS, Survey, key_in, read_redirect, read_slots, slot_of
from authz.model.address import TcpAddress, UnixAddress

ASKED = TcpAddress("10.0.0.9", 7000)


@pytest.mark.parametrize(
    "key", [b"", b"x", b"{a}b", b"b{a}", b"{}b", b"{a", b"a}", b"}{a}", b"{{a}}", b"a{}{b}", b"\xff{\x00}"]
)
def test_a_slot_is_that_of_what_stands_in_the_first_braces(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_the_check_sum_is_the_specifications() -> None:
    assert slot_of(b"123456789") == 0x31C3 % SLOTS  # its own example


def node(host: bytes | None, port: object = 7000) -> list[object]:
    return [host, port, b"id", []]


def test_the_map_says_who_has_what_and_who_copies() -> None:
    reply = [
        [0, 5460, node(b"a"), node(b"x")],
        [5461, 10922, node(b"b"), node(b"y", 7001), node(b"z")],
        [10923, 16382, node(b"a")],
        [16383, 16383, node(b"b")],
    ]
    assert read_slots(reply, ASKED) == Survey(
        {
            TcpAddress("a", 7000): [range(5461), range(10923, 16383)],
            TcpAddress("b", 7000): [range(5461, 10923), range(16383, 16384)],
        },
        frozenset({TcpAddress("x", 7000), TcpAddress("y", 7001), TcpAddress("z", 7000)}),
    )


def test_a_map_that_names_more_masters_than_any_cluster_has_is_none() -> None:
    """Each costs a connection and a thread: whoever lies here would have thousands of ours."""
    entries = [[number, number, node(b"a%d" % number)] for number in range(NODES_MAX)]
    assert read_slots(entries, ASKED) is not None
    assert read_slots([*entries, [16_000, 16_000, node(b"one-more")]], ASKED) is None
    crowd = [node(b"r%d" % number) for number in range(5000)]
    survey = read_slots([[0, 1, node(b"a"), *crowd]], ASKED)
    assert survey is not None
    assert len(survey.others) == NODES_MAX


@pytest.mark.parametrize("host", [b"", None, b"?"])
def test_a_node_that_does_not_know_its_host_is_the_one_that_was_asked(host: bytes | None) -> None:
    survey = read_slots([[0, 1, node(host, 7005)]], ASKED)
    assert survey is not None
    assert [*survey.owners] == [TcpAddress("10.0.0.9", 7005)]
    assert read_slots([[0, 1, node(host)]], UnixAddress(__file__)) is None  # type: ignore[arg-type]  # any path


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"OK",
        [],
        [[]],
        [b"x"],
        [[0, 1]],
        [[0, 1, b"a"]],
        [[0, 1, []]],
        [[0, 1, [b"a"]]],
        [[0, 1, node(b"a", b"x")]],
        [[1, 0, node(b"a")]],
        [[-1, 0, node(b"a")]],
        [[0, 16384, node(b"a")]],
        [[b"0", b"1", node(b"a")]],
        [[0, 1, node(b"a")], [2, 3, 4]],
    ],
)
def test_a_map_that_cannot_be_read_is_none(reply: object) -> None:
    assert read_slots(reply, ASKED) is None


@pytest.mark.parametrize(
    ("text", "redirect"),
    [
        ("MOVED 3999 127.0.0.1:6381", (3999, TcpAddress("127.0.0.1", 6381))),
        ("ASK 0 ::1:6381", (0, TcpAddress("::1", 6381))),
        ("MOVED 1 :6381", (1, TcpAddress("10.0.0.9", 6381))),
        ("MOVED 1 ?:6381", (1, TcpAddress("10.0.0.9", 6381))),
        ("MOVED 16384 a:1", None),
        ("MOVED x a:1", None),
        ("MOVED 1 a:x", None),
        ("MOVED 1 a", None),
        ("MOVED 1", None),
        ("MOVED", None),
    ],
)
def test_a_redirect_is_read_or_it_is_none(text: str, redirect: object) -> None:
    assert read_redirect(text, ASKED) == redirect


def test_a_key_is_found_for_the_smallest_share() -> None:
    for slots in (range(1), range(7, 8), range(16383, 16384), range(SLOTS)):
        key = key_in([range(0), slots], b"authz:default:proof")
        assert slot_of(key) in slots
        assert key.startswith(b"authz:default:proof{")

"""How many share the buckets, as each of them learns it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import pack

import pytest

from authz.limits.redis.fleet import BEAT_US, LIFE_US, SCRIPT, Fleet
from authz.limits.redis.session import Reply, ScriptCall, Unanswered
from tests.support.redis import RedisServer, redis_server
from tests.support.spending import Scripted

PREFIX = "authz:test:"
DOWN = Unanswered("down")


class Clock:
    def __init__(self) -> None:
        self.now_us = 1_000_000

    def __call__(self) -> int:
        return self.now_us


def fleet(session: Scripted, clock: Clock, expected: int = 0) -> Fleet:
    return Fleet(session, PREFIX, expected, clock, member=b"me")


def told(clock: Clock, *sizes: int | Unanswered, expected: int = 0) -> list[int]:
    """Answer beat after beat; return what the member thinks after each."""
    session = Scripted(*[[size if isinstance(size, Unanswered) else [size, 0]] for size in sizes])
    member = fleet(session, clock, expected)
    believed = []
    for _ in sizes:
        member.tend()
        believed.append(member.size)
        clock.now_us += BEAT_US
    assert not session.replies
    return believed


def test_before_anybody_counted_the_size_is_what_the_operator_says() -> None:
    assert fleet(Scripted(), Clock()).size == 0
    assert fleet(Scripted(), Clock(), expected=12).size == 12


@pytest.mark.parametrize("size", [0, -3, 1_000_001, 2**63 - 1])
def test_a_count_beyond_reason_is_none(size: int) -> None:
    assert told(Clock(), 3, size, 3) == [3, 3, 3]


def beats(session: Scripted, clock: Clock, member: Fleet, seconds: int) -> int:
    """Tend it ten times a second; return how often it spoke."""
    before = len(session.asked)
    for _ in range(seconds * 10):
        member.tend()
        clock.now_us += 100_000
    return len(session.asked) - before


def test_a_member_speaks_each_second_while_a_fleet_gathers_and_then_every_five() -> None:
    clock, session = Clock(), Scripted(*[[[3, 0]]] * 100)
    member = fleet(session, clock)
    assert beats(session, clock, member, 15) == 15
    assert beats(session, clock, member, 20) == 4
    clock.now_us += 2 * BEAT_US + 1  # nobody was heard of for long: others may be gone and come back
    assert beats(session, clock, member, 15) == 15
    assert beats(session, clock, member, 20) == 4


def test_what_a_member_says_is_its_name_and_how_long_that_holds() -> None:
    session = Scripted([[3, 0]])
    fleet(session, Clock()).tend()
    assert session.asked[0] == [ScriptCall(0, (b"authz:test:fleet",), pack("<dd", 15_000, 1) + b"me", SCRIPT)]


def test_nothing_is_said_while_nobody_listens_and_at_once_when_somebody_does() -> None:
    clock, session = Clock(), Scripted([[3, 0]])
    member = fleet(session, clock)
    session.up = False
    member.tend()
    member.leave()
    assert session.asked == []
    session.up = True
    member.tend()
    assert member.size == 3


def test_a_beat_that_was_not_answered_is_tried_again_after_a_second() -> None:
    clock, session = Clock(), Scripted([DOWN], [[2, 0]])
    member = fleet(session, clock)
    member.tend()
    member.tend()
    assert (len(session.asked), member.size) == (1, 0)
    clock.now_us += 1_000_000
    member.tend()
    assert member.size == 2


def test_a_member_counts_the_workers_beside_it_whoever_came_first() -> None:
    member = Fleet(Scripted([[1, 0]]), PREFIX, 0, Clock(), least=4)
    assert member.size == 0  # and the other sidecars are unknown
    member.tend()
    assert member.size == 4


def test_a_size_that_grows_is_believed_at_once() -> None:
    assert told(Clock(), 1, 2, 7) == [1, 2, 7]


def test_a_size_that_falls_is_believed_after_a_quarter_of_a_minute() -> None:
    assert told(Clock(), 4, 4, 2, 2, 2, 2) == [4, 4, 4, 4, 2, 2]


def test_a_size_that_falls_step_by_step_is_followed() -> None:
    assert told(Clock(), 9, 8, 8, 8, 7, 7, 7) == [9, 9, 9, 8, 8, 8, 7]


def test_the_first_to_come_back_does_not_think_itself_alone() -> None:
    clock = Clock()
    session = Scripted([[20, 0]], [[1, 0]], [[1, 0]], [[20, 0]])
    member = fleet(session, clock)
    member.tend()
    clock.now_us += 10 * LIFE_US  # an outage, and then a server that knows nothing
    for _ in range(3):
        member.tend()
        assert member.size == 20
        clock.now_us += BEAT_US


def test_a_server_that_forgets_everybody_again_and_again_makes_no_fleet_smaller() -> None:
    """Between two such moments some have not spoken yet: what was heard so is no number at all."""
    clock = Clock()
    session = Scripted([[4, 1]], *[[[1, 1]], [[2, 0]]] * 40)
    member = fleet(session, clock)
    while session.replies:
        member.tend()
        assert member.size == 4
        clock.now_us += 1_000_000


def test_what_the_operator_expects_holds_until_all_have_had_time_to_come() -> None:
    assert told(Clock(), 1, 1, 1, 1, expected=8) == [8, 8, 8, 1]


@pytest.mark.parametrize("reply", [[], [3], [0, 0], [-1, 0], [3, 0, 4], DOWN])
def test_an_answer_that_is_none_changes_nothing(reply: Reply) -> None:
    member = fleet(Scripted([reply]), Clock(), expected=5)
    member.tend()
    assert member.size == 5


# --- what the script does, on a real server


class Line(Scripted):
    """A session that sends each script whole, over a connection of its own."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
        said: list[Reply] = []
        for call in calls:
            assert call.script is not None
            said.append(self._server.ask("EVAL", call.script.text, len(call.keys), *call.keys, call.argument))
        return said


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def member(server: RedisServer, name: str, clock: Clock) -> Fleet:
    return Fleet(Line(server), PREFIX, 0, clock, member=name.encode())


def test_members_count_each_other_and_whoever_leaves_is_gone(server: RedisServer) -> None:
    server.ask("FLUSHALL")
    clock = Clock()
    members = [member(server, name, clock) for name in "abc"]
    for one in members:
        one.tend()
    assert [one.size for one in members] == [1, 2, 3]
    members[2].leave()
    assert server.ask("ZRANGE", "authz:test:fleet", 0, -1) == [b"a", b"b"]


def test_whoever_was_not_heard_of_for_long_is_not_counted(server: RedisServer) -> None:
    server.ask("FLUSHALL")
    seconds = int(server.ask("TIME")[0])
    server.ask("ZADD", "authz:test:fleet", (seconds - 20) * 1000, "dead", (seconds - 3) * 1000, "alive")
    server.ask("ZADD", "authz:test:fleet", (seconds + 3600) * 1000, "of-another-clock")
    one = member(server, "me", Clock())
    one.tend()
    assert one.size == 2
    assert 0 < server.ask("PTTL", "authz:test:fleet") <= LIFE_US // 1000


def test_the_last_to_leave_leaves_nothing(server: RedisServer) -> None:
    server.ask("FLUSHALL")
    one = member(server, "me", Clock())
    one.tend()
    one.leave()
    assert server.ask("DBSIZE") == 0


def test_a_key_that_holds_something_else_tells_nothing(server: RedisServer) -> None:
    server.ask("FLUSHALL")
    server.ask("SET", "authz:test:fleet", "a text")
    one = member(server, "me", Clock())
    one.tend()
    assert one.size == 0
    assert server.ask("GET", "authz:test:fleet") == b"a text"

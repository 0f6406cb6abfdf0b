"""A Cluster: fake nodes that say who has what, and six real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from threading import Event

import pytest

from authz.limits.redis import cluster as cluster_room
from authz.limits.redis import sessions
from authz.limits.redis.dial import Dial
from authz.limits.redis.errors import DOWN
from authz.limits.redis.session import LinkFacts, Unanswered
from authz.limits.redis.slots import SLOTS, Survey, slot_of
from authz.model.address import Address, TcpAddress
from tests.support.fake_redis import CLOSE, Answer, FakeRedis, array, in_turn
from tests.support.proxy import eventually
from tests.support.redis import Cluster, redis_cluster, wait_for
from tests.support.sessions import KeptLog, key, session, spend, spent, stands

HALF = SLOTS // 2


def node(fake: FakeRedis) -> list[object]:
    return [fake.address.host.encode(), fake.address.port, b"id"]


def slots_map(low: FakeRedis, high: FakeRedis, *replicas: FakeRedis) -> bytes:
    """Say that two nodes have half of the slots each."""
    return array([0, HALF - 1, node(low), *map(node, replicas)], [HALF, SLOTS - 1, node(high)])


def in_half(high: bool, count: int) -> list[bytes]:
    """Return keys of one half of the slots."""
    found = (key(number) for number in range(10_000) if (slot_of(key(number)) >= HALF) is high)
    return [next(found) for _ in range(count)]


LOW, HIGH = in_half(False, 3), in_half(True, 3)


class Nodes:
    """Fake nodes: the first two are masters; the third is for promotions."""

    def __init__(self, fakes: Sequence[FakeRedis]) -> None:
        self.low, self.high, self.spare = self.all = tuple(fakes)
        self.url = f"redis+cluster://{self.low.address}"
        self.answer(slots_map(self.low, self.high, self.spare))

    def answer(self, told: Answer) -> None:
        """Let every node tell this map."""
        for fake in self.all:
            fake.answers[b"CLUSTER"] = told


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with ExitStack() as stack:
        yield Nodes([stack.enter_context(FakeRedis()) for _ in range(3)])


def test_each_call_goes_to_the_node_that_has_its_slot(nodes: Nodes) -> None:
    nodes.low.answers[b"EVALSHA"], nodes.high.answers[b"EVALSHA"] = array(1, 10), array(1, 20)
    with session(nodes.url, links=2) as made:
        assert made.slot(LOW[0]) == slot_of(LOW[0])
        replies = spend(made, HIGH[0], LOW[0], HIGH[1], LOW[1])
        assert replies == [[1, 20], [1, 10], [1, 20], [1, 10]]
        assert nodes.spare.count(b"EVALSHA") == 0
        assert made.generation == 2
        assert made.answers()


def test_each_node_is_tried_with_a_key_that_it_has(nodes: Nodes) -> None:
    with session(nodes.url, links=2):
        for fake, is_high in ((nodes.low, False), (nodes.high, True)):
            (proof,) = [words for words in fake.commands if words[0] == b"EVALSHA"]
            assert (slot_of(proof[3]) >= HALF) is is_high


def test_a_node_that_is_down_costs_its_own_callers_a_timeout_once_and_nobody_else_anything(
    nodes: Nodes,
) -> None:
    nodes.high.answers[b"EVALSHA"] = in_turn(array(1, 7), b"")  # it works, and then hangs
    with session(nodes.url, call_s=0.1, connect_s=0.2, links=2) as made:
        assert spend(made, HIGH[0], LOW[0]) == [Unanswered("timeout"), [1, 7]]
        assert made.answers()
        assert spend(made, HIGH[0], LOW[0]) == [DOWN, [1, 7]]
        assert [fact.up for fact in made.facts] == [True, False]
        nodes.high.answers[b"EVALSHA"] = array(1, 8)
        assert stands(made, 2)
        assert spend(made, HIGH[0], LOW[0]) == [[1, 8], [1, 7]]


def test_a_slot_that_moved_is_followed_at_once_and_the_map_is_drawn_anew(nodes: Nodes) -> None:
    slot = slot_of(LOW[0])
    nodes.low.answers[b"EVALSHA"] = in_turn(
        array(1, 7), b"-MOVED %d %s\r\n" % (slot, str(nodes.high.address).encode()), array(1, 9)
    )
    with session(nodes.url, links=2) as made:
        assert isinstance(made, cluster_room.ClusterSession)
        assert eventually(lambda: not made._wanted.is_set())
        nodes.high.answers[b"EVALSHA"] = array(1, 20)
        nodes.answer(slots_map(nodes.high, nodes.spare))
        assert spend(made, LOW[0]) == [[1, 20]]
        assert made.generation == 2, "no connection was lost by it"
        assert eventually(lambda: str(nodes.spare.address) in {fact.where for fact in made.facts})


def test_a_slot_that_is_being_moved_is_asked_for_at_its_new_place_call_by_call(nodes: Nodes) -> None:
    ask = b"-ASK %d %s\r\n" % (slot_of(LOW[0]), str(nodes.high.address).encode())
    nodes.low.answers[b"EVALSHA"] = in_turn(array(1, 7), ask, ask, array(1, 7))
    with session(nodes.url, links=2) as made:
        nodes.high.answers[b"EVALSHA"] = in_turn(array(1, 20), array(1, 21))
        assert spend(made, LOW[0], LOW[0]) == [[1, 20], [1, 21]]
        assert nodes.high.words()[-4:] == [b"ASKING", b"EVALSHA"] * 2
        assert spend(made, LOW[0]) == [[1, 7]], "the next call asks the old place again"


@pytest.mark.parametrize(
    "words", [b"MOVED 1 127.0.0.1:1", b"ASK 1 127.0.0.1:1", b"MOVED x y", b"ASK", b"MOVED 99999 127.0.0.1:1"]
)
def test_a_redirect_to_nowhere_answers_nothing(nodes: Nodes, words: bytes) -> None:
    nodes.low.answers[b"EVALSHA"] = in_turn(array(1, 7), b"-%s\r\n" % words, array(1, 9))
    with session(nodes.url, links=2) as made:
        assert spend(made, LOW[0]) == [Unanswered(words.split()[0].decode().lower())]
        assert eventually(lambda: spend(made, LOW[0]) == [[1, 9]])


def test_two_nodes_that_point_at_each_other_are_asked_once_each(nodes: Nodes) -> None:
    slot = slot_of(LOW[0])
    for fake, other in ((nodes.low, nodes.high), (nodes.high, nodes.low)):
        fake.answers[b"EVALSHA"] = in_turn(
            array(1, 7), b"-MOVED %d %s\r\n" % (slot, str(other.address).encode())
        )
    with session(nodes.url, links=2) as made:
        before = [fake.count(b"EVALSHA") for fake in (nodes.low, nodes.high)]
        assert spend(made, LOW[0]) == [Unanswered("moved")]
        assert [fake.count(b"EVALSHA") for fake in (nodes.low, nodes.high)] == [count + 1 for count in before]


def test_a_replica_that_became_the_master_is_found_by_asking_the_others(nodes: Nodes) -> None:
    with session(nodes.url, links=2) as made:
        generation = made.generation
        nodes.spare.answers[b"EVALSHA"] = array(1, 30)
        nodes.answer(slots_map(nodes.spare, nodes.high))
        nodes.low.refuse()
        nodes.low.hang_up()
        assert eventually(lambda: spend(made, LOW[0]) == [[1, 30]])
        assert {fact.where for fact in made.facts} == {str(nodes.spare.address), str(nodes.high.address)}
        assert made.generation > generation


def test_the_map_is_had_from_whoever_is_left(nodes: Nodes) -> None:
    """The node that the operator named, and every master, are gone; the replica knows."""
    with session(nodes.url, links=2) as made:
        nodes.spare.answers[b"CLUSTER"] = array([0, SLOTS - 1, node(nodes.spare)])
        for fake in (nodes.low, nodes.high):
            fake.refuse()
            fake.hang_up()
        assert eventually(lambda: len(made.facts) == 1 and made.answers())
        assert spend(made, LOW[0], HIGH[0]) == [[1, 7]] * 2


def test_slots_that_nobody_has_are_answered_down(nodes: Nodes) -> None:
    nodes.answer(array([0, HALF - 1, node(nodes.low)]))
    with session(nodes.url) as made:
        assert spend(made, LOW[0], HIGH[0]) == [[1, 7], DOWN]
        nodes.answer(slots_map(nodes.low, nodes.high))
        assert stands(made, 2), "it is looked for until somebody has them"
        assert spend(made, HIGH[0]) == [[1, 7]]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (b"-ERR This instance has cluster support disabled\r\n", "err"),
        (b"-NOPERM this user has no permissions\r\n", "noperm"),
        (array(), "broken"),
        (b"+OK\r\n", "broken"),
        (array([0, 1, b"x"]), "broken"),
        (CLOSE, "closed"),
        (b"", "timeout"),
    ],
)
def test_what_is_no_cluster_is_told_and_asked_again(nodes: Nodes, told: Answer, why: str) -> None:
    nodes.answer(told)
    with session(nodes.url, connect_s=0.2, links=0) as made:
        assert eventually(lambda: made.facts == (LinkFacts(nodes.url, False, 0, why),))
        assert not made.answers()
        assert spend(made, LOW[0]) == [DOWN]
        nodes.answer(slots_map(nodes.low, nodes.high))
        assert stands(made, 2)


def test_nobody_there_is_told_and_waited_for() -> None:
    with FakeRedis() as gone:
        address: TcpAddress = gone.address
    with session(f"redis+cluster://{address}", links=0) as made:
        assert eventually(lambda: made.facts[0].why == "down")


def test_the_end_waits_for_no_node_that_is_being_connected_to(nodes: Nodes) -> None:
    arrived = Event()

    def hang(_: list[bytes]) -> bytes:
        arrived.set()
        return b""

    nodes.high.answers[b"SCRIPT"] = hang
    with session(nodes.url, connect_s=0.3, links=0) as made:
        assert arrived.wait(20)
    assert not made.answers()
    assert spend(made, LOW[0]) == [DOWN]


def test_an_answer_that_makes_no_sense_costs_that_node_its_connection_and_no_other(nodes: Nodes) -> None:
    with session(nodes.url, links=2) as made:
        made.distrust(slot_of(HIGH[0]))
        assert eventually(lambda: made.generation == 3)
        assert stands(made, 2)
        assert {fact.where: fact.opened for fact in made.facts} == {
            str(nodes.low.address): 1,
            str(nodes.high.address): 2,
        }


def test_a_fault_of_ours_while_the_map_is_drawn_is_told_and_the_map_is_drawn(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, left = KeptLog(), [ValueError("a fault"), ValueError("a fault")]
    real = sessions.survey

    def faulty(dial: Dial, address: Address) -> Survey:
        if left:
            raise left.pop()
        return real(dial, address)

    monkeypatch.setattr(cluster_room, "log", kept)
    monkeypatch.setattr(sessions, "survey", faulty)
    with session(nodes.url, links=2) as made:
        assert spend(made, LOW[0]) == [[1, 7]]
    assert [line[:2] for line in kept.lines] == [
        ("exception", "the map of a redis cluster could not be drawn")
    ] * 2


# Six real nodes.


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with redis_cluster() as running:
        yield running


KEYS = [key(number) for number in range(40)]


def test_real_nodes_are_found_their_slots_move_and_their_masters_change(cluster: Cluster) -> None:
    with session(cluster.url, links=3) as made:
        assert spent(spend(made, *KEYS)) == [1] * len(KEYS)

        slot = made.slot(KEYS[0])
        source = cluster.owner(slot)
        target = next(server for server in cluster.servers[:3] if server is not source)
        cluster.begin_to_move(slot, target)
        assert spent(spend(made, *KEYS)) == [2] * len(KEYS), "what is still there is answered there"
        source.ask("DEL", KEYS[0])
        assert spent(spend(made, *KEYS)) == [1] + [3] * (len(KEYS) - 1), "what is not, at the other place"
        cluster.move(slot, target)
        assert spent(spend(made, *KEYS)) == [2] + [4] * (len(KEYS) - 1)
        assert made.generation == 3, "no connection was lost by it"

        replica = cluster.servers[3 + cluster.servers.index(target)]
        cluster.promote(replica)
        wait_for(lambda: cluster.owner(slot) is replica)
        assert eventually(lambda: all(isinstance(reply, list) for reply in spend(made, *KEYS)))
        assert made.generation == 4


def test_a_real_master_that_dies_is_followed_by_its_replica(cluster: Cluster) -> None:
    with session(cluster.url, call_s=1.0, links=3) as made:
        slot = made.slot(KEYS[1])
        master = cluster.owner(slot)
        master.kill()
        try:
            wait_for(lambda: cluster.owner(slot) is not master)
            assert eventually(lambda: all(isinstance(reply, list) for reply in spend(made, *KEYS)))
            assert stands(made, 3)
        finally:
            master.start()

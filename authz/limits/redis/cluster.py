"""A Cluster: one connection to each master, each mended apart, and a map of who has which slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Lock, Thread
from time import monotonic

from authz.config.log import get_logger
from authz.limits.redis.errors import LinkFailed
from authz.limits.redis.exchange import ASKING, Exchange
from authz.limits.redis.link import Link
from authz.limits.redis.mending import LASTED_S, Backoff, Mender, Voice
from authz.limits.redis.session import LinkFacts, Reply, Script, ScriptCall
from authz.limits.redis.slots import SLOTS, Survey, read_redirect, slot_of
from authz.model.address import Address, TcpAddress

_JOIN_S = 2.0

log = get_logger("limits")


class ClusterSession:
    """A Session with one connection for each master.

    The map is drawn at the start, and again whenever a node says MOVED, or a connection is lost, until every
    slot has a master that answers.

    Args:
        name: for people.
        seeds: nodes to ask while no other is known.
        ask: asks a node who has what; raises LinkFailed.
        opened: connects to a master that has these slots, and proves that it works; raises LinkFailed.
        script: the spending script.
        call_s: seconds that a batch may take.
        voice: says what changes.
    """

    def __init__(
        self,
        name: str,
        seeds: Sequence[Address],
        ask: Callable[[Address], Survey],
        opened: Callable[[TcpAddress, list[range]], Link],
        script: Script,
        call_s: float,
        voice: Voice,
        backoff: Backoff | None = None,
    ) -> None:
        self._name, self._seeds, self._ask, self._opened = name, tuple(seeds), ask, opened
        self._script, self._call_s, self._voice = script, call_s, voice
        self._backoff = backoff or Backoff()
        self._using = Lock()
        # Changed by the surveyor alone, with `using` held; the map also by what MOVED says.
        self._nodes: dict[TcpAddress, Mender] = {}
        self._ranges: dict[TcpAddress, list[range]] = {}
        self._owners: list[Mender | None] = [None] * SLOTS
        self._others: frozenset[TcpAddress] = frozenset()
        self._leaving: list[Mender] = []  # they may still be connecting
        self._gone = 0  # connections that were made to nodes that are masters no more
        self._generation = 0
        self._answers = False
        self._why = ""
        self._wanted, self._closing = Event(), Event()
        self._thread = Thread(target=self._survey_on, name="redis survey", daemon=True)

    @property
    def generation(self) -> int:
        """Grows with each connection made anew, to whichever node."""
        return self._generation

    @property
    def facts(self) -> tuple[LinkFacts, ...]:
        """How each connection stands; while no node is known, that."""
        nodes = tuple(self._nodes.values())
        return tuple(node.facts for node in nodes) or (
            LinkFacts(self._name, up=False, opened=0, why=self._why),
        )

    def slot(self, key: bytes) -> int:
        """Return the slot of a key."""
        return slot_of(key)

    def answers(self) -> bool:
        """Whether any node would answer; those that would not are told apart by `run`."""
        return self._answers

    def run(self, calls: Sequence[ScriptCall]) -> Sequence[Reply]:
        """Send all calls to their nodes at once and return what came of each, in order."""
        with self._using:
            exchange = Exchange(calls, self._script, self._call_s, self._drop, self._voice)
            steps: dict[Link, list[tuple[int, bytes]]] = {}
            for number, call in enumerate(calls):
                owner = self._owners[call.slot]
                if owner is not None and owner.link is not None:
                    steps.setdefault(owner.link, []).append((number, b""))
            exchange.take(steps)
            self._follow(exchange)
            exchange.load_and_resend()
            return exchange.replies()

    def _follow(self, exchange: Exchange) -> None:
        """Ask those whom MOVED and ASK name, once, where there is a connection to them."""
        steps: dict[Link, list[tuple[int, bytes]]] = {}
        for number, answer, link in exchange.errors("moved", "ask"):
            asking = answer.word == "ask"
            node = self._pointed_at(answer.text, link, for_good=not asking)
            if node is not None and node.link is not None:
                steps.setdefault(node.link, []).append((number, ASKING if asking else b""))
        if steps:
            exchange.take(steps)

    def _pointed_at(self, text: str, link: Link, *, for_good: bool) -> Mender | None:
        redirect = read_redirect(text, link.where)
        if redirect is None:
            return None
        slot, address = redirect
        node = self._nodes.get(address)
        if for_good:
            self._owners[slot] = node
            self._wanted.set()
        return node

    def _drop(self, link: Link, why: str) -> None:
        """Take a connection out of use. `using` is held."""
        for node in self._nodes.values():
            if node.link is link:
                node.drop(link, why)
                return
        link.fail(why)

    def _changed(self) -> None:
        """Keep in mind what others ask often. `using` is held."""
        links = [node.link for node in self._nodes.values()]
        self._generation = self._gone + sum(node.opened for node in self._nodes.values())
        self._answers = any(link is not None for link in links)
        if not all(links):
            self._wanted.set()

    def distrust(self, slot: int) -> None:
        """Close the connection to the node that has a slot."""
        with self._using:
            owner = self._owners[slot]
            if owner is not None and owner.link is not None:
                owner.drop(owner.link, "broken")

    def start(self) -> None:
        """Begin to look who has what; returns at once."""
        self._wanted.set()
        self._thread.start()

    def close(self) -> None:
        """Close every connection, and look no more."""
        self._closing.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        with self._using:
            nodes = [*self._nodes.values(), *self._leaving]
        for node in nodes:
            node.ask_to_stop()
        for node in nodes:
            node.close()

    def _survey_on(self) -> None:
        while not self._closing.wait(self._backoff.next_s()):
            since_s = monotonic()
            self._wanted.wait()
            self._wanted.clear()
            if self._closing.is_set():
                return
            if monotonic() - since_s > LASTED_S:
                self._backoff.reset()
            self._survey()
            if not self._is_whole():
                self._wanted.set()

    def _survey(self) -> None:
        try:
            self._draw(self._asked())
        except LinkFailed as error:
            self._why = error.why
            self._voice.down(self._name, error.why, str(error))
        except Exception:
            log.exception("the map of a redis cluster could not be drawn", redis=self._name)

    def _asked(self) -> Survey:
        """Ask nodes that answer first, then those that did, then those that the operator named."""
        up = [address for address, node in self._nodes.items() if node.link is not None]
        failed = LinkFailed("down", "no node is known")
        for address in dict.fromkeys([*up, *self._nodes, *self._others, *self._seeds]):
            if self._closing.is_set():
                break
            try:
                return self._ask(address)
            except LinkFailed as error:
                failed = error
        raise failed

    def _draw(self, survey: Survey) -> None:
        """Take a new map into use, connect to new masters, and leave those that are none any more."""
        born = {address: self._node(address) for address in survey.owners if address not in self._nodes}
        with self._using:
            if self._closing.is_set():
                return  # nobody would close what is opened now
            dead = [self._nodes.pop(address) for address in [*self._nodes] if address not in survey.owners]
            self._gone += sum(node.opened for node in dead)
            self._nodes |= born
            self._ranges, self._others = survey.owners, survey.others
            owners: list[Mender | None] = [None] * SLOTS
            for address, ranges in survey.owners.items():
                for slots in ranges:
                    owners[slots.start : slots.stop] = [self._nodes[address]] * len(slots)
            self._owners = owners
            self._changed()
        for node in born.values():
            node.start()
        for node in dead:
            node.ask_to_stop()
        self._leaving = [node for node in (*self._leaving, *dead) if not node.close(0.0)]

    def _node(self, address: TcpAddress) -> Mender:
        def opened() -> Link:
            ranges = self._ranges.get(address)
            if ranges is None:
                raise LinkFailed("moved", f"{address}: is no master any more")
            return self._opened(address, ranges)

        return Mender(str(address), opened, self._using, self._voice, self._changed)

    def _is_whole(self) -> bool:
        return all(self._owners) and all(node.link is not None for node in self._nodes.values())

"""The spending script on a real Redis: bit for bit what Python computes, and never more than it promises.

Its clock is Redis' own, so one line of it is changed here: the time is an argument. What it writes is seen as
Redis sees it, command by command, and set again before each call: keys would expire by the true clock.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, inf, nan
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.limits.bucket import QUANTA_PER_TOKEN, settle
from authz.limits.redis.batch import ENTRIES_MAX, KEYS_MAX
from authz.limits.redis.script import SCRIPT, encode
from tests.support.redis import RedisServer, redis_server
from tests.support.watched import Watcher, Write, clocked_script

BEGIN_US = 1_780_000_000_000_000
QUANTUM = Fraction(1, QUANTA_PER_TOKEN)
LONGEST_MS = 10**15
MOST_TOKENS = 2.0**42


@dataclass(frozen=True)
class Ask:
    """One bucket that an entry draws from."""

    key: bytes
    rate: float
    burst: float
    cost: float


@dataclass(frozen=True)
class Entry:
    """Some checks that ask for the same."""

    times: int
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Batch:
    """One call of the script."""

    now_us: int
    entries: tuple[Entry, ...]
    floors: tuple[tuple[bytes, float], ...] = ()

    @property
    def keys(self) -> list[bytes]:
        return list(dict.fromkeys(ask.key for entry in self.entries for ask in entry.asks))


def encoded(times: int, *asks: Ask) -> bytes:
    """Write an entry as the script reads it; the limiter's own functions are held to this one elsewhere."""
    numbers = [part for ask in asks for part in (ask.rate, ask.burst, ask.cost)]
    return struct.pack(f"<{2 + len(numbers)}d", times, len(asks), *numbers)


# --- the script, in a real Redis


class Server:
    """A server whose buckets are set anew before each call, and whose writes are watched."""

    def __init__(self, server: RedisServer, watcher: Watcher, client: Any) -> None:
        self.server, self.watcher, self.client = server, watcher, client
        self.sha = client.script_load(clocked_script())

    def spend(self, batch: Batch, held: dict[bytes, bytes | None]) -> tuple[list[int], list[Write]]:
        """Run one batch over the values that are held; None: a key of another type."""
        keys = [ask.key for entry in batch.entries for ask in entry.asks]
        floors = [part for key, debt in batch.floors for part in (keys.index(key) + 1, debt)]
        entries = [encoded(entry.times, *entry.asks) for entry in batch.entries]
        pipe = self.client.pipeline(transaction=True)
        pipe.flushall()
        for key, value in held.items():
            pipe.rpush(key, b"of another type") if value is None else pipe.set(key, value)
        pipe.evalsha(self.sha, len(keys), *keys, encode(floors, entries), batch.now_us)
        reply = pipe.execute()[-1]
        return reply, self.watcher.writes()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with redis_server() as running, running.client() as client:
        watcher = Watcher(running.socket)
        yield Server(running, watcher, client)
        watcher.close()


# --- the same in Python


@dataclass
class Reference:
    """Buckets as `bucket.py` has them."""

    held: dict[bytes, bytes | None] = field(default_factory=dict)

    def spend(self, batch: Batch) -> tuple[list[int], list[Write]]:
        debts: dict[bytes, float] = {}
        stamps: dict[bytes, float] = {}
        refills: dict[bytes, float] = {}
        for key in batch.keys:
            read = self._read(key, batch.now_us)
            if read is not None:
                debts[key], stamps[key] = read
        floors = dict(batch.floors)
        reply: list[int] = []
        for entry in batch.entries:
            for ask in entry.asks:
                if ask.key in debts:
                    if stamps[ask.key] > batch.now_us:
                        refills[ask.key] = ask.rate
                    elapsed = batch.now_us - stamps[ask.key]
                    debts[ask.key] = settle(debts[ask.key], cast("int", elapsed), ask.rate)
                    stamps[ask.key] = batch.now_us
                    if floors.get(ask.key, 0.0) > debts[ask.key]:
                        debts[ask.key], refills[ask.key] = floors[ask.key], ask.rate
            passed = self._passed(entry, debts, refills)
            reply.append(passed)
            reply += [
                ceil(debts[ask.key] * QUANTA_PER_TOKEN) if ask.key in debts else -1 for ask in entry.asks
            ]
        writes = [
            Write(key, struct.pack("<dd", debts[key], batch.now_us), life_ms(debts[key], rate))
            for key, rate in refills.items()
            if debts[key] > 0
        ]
        self.held.update({write.key: write.value for write in writes})
        return reply, writes

    def _passed(self, entry: Entry, debts: dict[bytes, float], refills: dict[bytes, float]) -> int:
        if not all(ask.key in debts for ask in entry.asks):
            return -1
        for passed in range(entry.times):
            if any(debts[ask.key] + ask.cost > ask.burst for ask in entry.asks):
                return passed
            for ask in entry.asks:
                debts[ask.key] += ask.cost
                refills[ask.key] = ask.rate
        return entry.times

    def _read(self, key: bytes, now_us: int) -> tuple[float, float] | None:
        if key not in self.held:
            return 0.0, now_us
        value = self.held[key]
        if value is None or len(value) != 16:
            return None
        debt, stamp = struct.unpack("<dd", value)
        return (debt, stamp) if 0 <= debt <= MOST_TOKENS and 0 <= stamp < inf else None


def life_ms(debt: float, rate: float) -> int:
    return min(LONGEST_MS, ceil(debt * 1000 / rate) + 1)


# --- traces

KEYS = [f"authz:t:{{tag}}:limit:{number}".encode() for number in range(6)]
RATES = st.one_of(
    st.sampled_from([5 / 86400, 1 / 60, 1.0, 3.0, 10.0, 999.0, 1e6, 999_999_999.0]),
    st.floats(5 / 86400, 1e6),
)
BURSTS = st.one_of(st.sampled_from([1.0, 2.0, 10.0, 999_999_999.0]), st.integers(1, 1000).map(float))
COSTS = st.one_of(
    st.sampled_from([0.0, 1.0, 1.0, 1.0, 0.1, 0.01, 2.5, 1e-9, 1e9, 1e300]),
    st.floats(0, 50, allow_subnormal=False),
)
FORWARD_US = st.one_of(st.sampled_from([0, 1, 1000, 10**6, 86_400 * 10**6]), st.integers(0, 10**8))
STEPS_US = st.one_of(FORWARD_US, FORWARD_US, FORWARD_US, st.integers(-(3600 * 10**6), 0))
BROKEN: list[bytes | None] = [
    None,
    b"",
    b"15 bytes, no 16",
    struct.pack("<ddB", 1.0, 1.0, 1),
    *[
        struct.pack("<dd", debt, stamp)
        for debt, stamp in [
            (nan, 1.0),
            (1.0, nan),
            (-1.0, 1.0),
            (inf, 1.0),
            (1.0, inf),
            (1e300, 1.0),
            (1.0, -1.0),
        ]
    ],
]


@st.composite
def entries(draw: st.DrawFn, keys: Sequence[bytes], whose: dict[bytes, tuple[float, float]]) -> Entry:
    """An entry over some of the buckets, each once; `whose` are their rates and bursts, if they keep them."""
    chosen = draw(st.lists(st.sampled_from(keys), min_size=1, max_size=6, unique=True))
    asks = []
    for key in chosen:
        rate, burst = whose.get(key) or (draw(RATES), draw(BURSTS))
        asks.append(Ask(key, rate, burst, draw(COSTS)))
    return Entry(draw(st.sampled_from([1, 1, 1, 2, 3, 20])), tuple(asks))


@st.composite
def traces(draw: st.DrawFn, *, honest: bool) -> list[Batch]:
    """Batches over a few buckets.

    Args:
        honest: the clock never goes back, a bucket keeps its rate and burst, and there are no floors.
    """
    keys = KEYS[: draw(st.integers(1, 6))]
    whose = {key: (draw(RATES), draw(BURSTS)) for key in keys} if honest or draw(st.booleans()) else {}
    batches = []
    now_us = BEGIN_US
    for _ in range(draw(st.integers(1, 8))):
        now_us += draw(FORWARD_US if honest else STEPS_US)
        asked = tuple(draw(st.lists(entries(keys, whose), min_size=1, max_size=5)))
        floors: tuple[tuple[bytes, float], ...] = ()
        if not honest and draw(st.booleans()):
            named = sorted({ask.key for entry in asked for ask in entry.asks})
            floors = tuple((key, draw(st.floats(0, 1000))) for key in named if draw(st.booleans()))
        batches.append(Batch(now_us, asked, floors))
    return batches


# --- bit for bit


@settings(max_examples=150, deadline=None)
@given(
    trace=traces(honest=False),
    broken=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(BROKEN), max_size=2),
)
def test_the_script_computes_exactly_what_python_computes(
    server: Server, trace: list[Batch], broken: dict[bytes, bytes | None]
) -> None:
    """Debts, grants, what is written, until when: over keys of other types, clocks that go back, floors."""
    reference = Reference(dict(broken))
    for batch in trace:
        before = dict(reference.held)
        expected, writes = reference.spend(batch)
        reply, written = server.spend(batch, before)
        assert reply == expected
        assert sorted(written) == sorted(writes)


# --- against exact fractions


@dataclass
class Ledger:
    """What one bucket granted, and its debt in exact numbers."""

    rate: Fraction
    burst: Fraction
    grants: list[tuple[int, Fraction]] = field(default_factory=list)
    debt: Fraction = Fraction(0)
    most: Fraction = Fraction(0)  # its debt if each charge was rounded up by a whole quantum
    at_us: int = BEGIN_US

    @property
    def slack(self) -> Fraction:
        """What doubles may lose in refills and sums, 2^-52 of the largest number in each."""
        return (len(self.grants) + 1) * (self.burst + 1) / 2**49

    def refill(self, now_us: int) -> None:
        refilled = (now_us - self.at_us) * self.rate / 10**6
        self.debt, self.most = max(Fraction(0), self.debt - refilled), max(Fraction(0), self.most - refilled)
        self.at_us = now_us

    def charge(self, cost: Fraction) -> None:
        self.debt += cost
        self.most += cost + QUANTUM
        self.grants.append((self.at_us, cost))


@settings(max_examples=80, deadline=None)
@given(trace=traces(honest=True))
def test_no_bucket_ever_grants_more_than_burst_and_rate_allow_nor_much_less(
    server: Server, trace: list[Batch]
) -> None:
    held: dict[bytes, bytes | None] = {}
    ledgers: dict[bytes, Ledger] = {}
    for batch in trace:
        reply, written = server.spend(batch, held)
        held.update({write.key: write.value for write in written})
        answers = iter(reply)
        for entry in batch.entries:
            mine = [
                (
                    ledgers.setdefault(ask.key, Ledger(Fraction(ask.rate), Fraction(ask.burst))),
                    Fraction(ask.cost),
                )
                for ask in entry.asks
            ]
            for ledger, _ in mine:
                ledger.refill(batch.now_us)
            passed = next(answers)
            for _ in range(passed):
                for ledger, cost in mine:
                    ledger.charge(cost)
            debts = [Fraction(next(answers), QUANTA_PER_TOKEN) for _ in entry.asks]
            for (ledger, _), debt in zip(mine, debts, strict=True):
                assert ledger.debt - ledger.slack <= debt <= ledger.most + QUANTUM + ledger.slack
            if passed < entry.times:
                assert any(ledger.most + cost + ledger.slack > ledger.burst for ledger, cost in mine)
    for ledger in ledgers.values():
        _within_promise(ledger)


def _within_promise(ledger: Ledger) -> None:
    """In every interval: no more than the burst and what refills meanwhile."""
    for first, (began_us, _) in enumerate(ledger.grants):
        granted = Fraction(0)
        for ended_us, cost in ledger.grants[first:]:
            granted += cost
            promise = ledger.burst + ledger.rate * (ended_us - began_us) / 10**6
            assert granted <= promise + ledger.slack


@settings(max_examples=80, deadline=None)
@given(trace=traces(honest=True))
def test_a_refused_entry_writes_nothing_and_changes_no_bucket(server: Server, trace: list[Batch]) -> None:
    """Each entry is asked alone, so whatever it writes is its own."""
    held: dict[bytes, bytes | None] = {}
    for batch in trace:
        for entry in batch.entries:
            (passed, *debts), written = server.spend(Batch(batch.now_us, (entry,)), held)
            if passed == 0:
                assert written == []
                free = Entry(1, tuple(Ask(ask.key, ask.rate, 1e9, 0.0) for ask in entry.asks))
                (_, *after), _ = server.spend(Batch(batch.now_us, (free,)), held)
                assert after == debts
            else:
                assert {write.key for write in written} <= {ask.key for ask in entry.asks}
            held.update({write.key: write.value for write in written})


@settings(max_examples=80, deadline=None)
@given(trace=traces(honest=True))
def test_redis_never_forgets_a_bucket_before_it_is_full(server: Server, trace: list[Batch]) -> None:
    held: dict[bytes, bytes | None] = {}
    for batch in trace:
        rates = {ask.key: Fraction(ask.rate) for entry in batch.entries for ask in entry.asks}
        _, written = server.spend(batch, held)
        for key, value, life in written:
            debt = Fraction(struct.unpack("<dd", value)[0])
            refilled = life * rates[key] / 1000
            assert refilled >= debt or life == LONGEST_MS
            assert (life - 3) * rates[key] / 1000 <= debt * (1 + Fraction(1, 2**50))
        held.update({write.key: write.value for write in written})


# --- by its own clock


def test_by_its_own_clock_it_keeps_a_bucket_until_it_is_full(server: Server) -> None:
    key = b"authz:t:{tag}:limit:own"
    server.client.flushall()
    reply = server.client.eval(SCRIPT, 1, key, encode([], [encoded(3, Ask(key, 0.5, 2.0, 1.0))]))
    assert reply == [2, 2 * QUANTA_PER_TOKEN]
    assert 3000 < server.client.pttl(key) <= 4001
    assert [(write.key, write.life_ms) for write in server.watcher.writes()] == [(key, 4001)]
    seconds, micros = server.client.time()
    debt, stamp = struct.unpack("<dd", server.client.get(key))
    assert debt == 2.0
    assert 0 <= seconds * 10**6 + micros - stamp < 10**6


def test_whole_tokens_stay_whole(server: Server) -> None:
    """So they do only if the refill is one product, then one quotient."""
    held: dict[bytes, bytes | None] = {
        f"k{rate}".encode(): struct.pack("<dd", 1000.0, BEGIN_US - 7_000_000) for rate in range(1, 101)
    }
    asked = [Entry(1, (Ask(key, float(rate), 1e9, 0.0),)) for rate, key in enumerate(held, 1)]
    reply, _ = server.spend(Batch(BEGIN_US, tuple(asked)), held)
    assert reply[1::2] == [(1000 - 7 * rate) * QUANTA_PER_TOKEN for rate in range(1, 101)]


def test_the_slowest_of_all_buckets_lives_as_long_as_redis_can_say(server: Server) -> None:
    """To refill it takes two million years."""
    entry = Entry(1, (Ask(b"k", 1 / 86400, 999_999_999.0, 999_999_999.0),))
    reply, (write,) = server.spend(Batch(BEGIN_US, (entry,)), {})
    assert reply == [1, 999_999_999 * QUANTA_PER_TOKEN]
    assert write.life_ms == LONGEST_MS


def test_the_largest_batch_is_one_call(server: Server) -> None:
    """As many entries of four buckets each as a batch has, and one entry that a thousand checks share."""
    keys = [f"k{number}".encode() for number in range(KEYS_MAX)]
    entries = [
        Entry(1, tuple(Ask(key, 1.0, 1.0, 1.0) for key in keys[at : at + 4])) for at in range(0, KEYS_MAX, 4)
    ]
    reply, written = server.spend(Batch(BEGIN_US, tuple(entries)), {})
    assert reply == [1, *[QUANTA_PER_TOKEN] * 4] * ENTRIES_MAX
    assert len(written) == KEYS_MAX
    crowd = Entry(1000, (Ask(b"k", 1.0, 700.0, 1.0),))
    assert server.spend(Batch(BEGIN_US, (crowd,)), {})[0] == [700, 700 * QUANTA_PER_TOKEN]


def test_a_full_memory_is_an_error_that_spends_nothing(server: Server) -> None:
    """Two buckets of one check: never one of them alone."""
    keys = [b"authz:t:{tag}:limit:x", b"authz:t:{tag}:limit:y"]
    argument = encode([], [encoded(1, *[Ask(key, 1.0, 9.0, 1.0) for key in keys])])
    server.client.flushall()
    server.client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Exception, match="used memory > 'maxmemory'"):
            server.client.eval(SCRIPT, 2, *keys, argument)
    finally:
        server.client.config_set("maxmemory", 0)
    assert server.client.dbsize() == 0
    assert server.watcher.writes() == []
    assert server.client.eval(SCRIPT, 2, *keys, argument) == [1, QUANTA_PER_TOKEN, QUANTA_PER_TOKEN]
    assert len(server.watcher.writes()) == 2

"""Refused keys cannot be told apart: not by a byte of the answer, and not by the time that it takes.

Time is measured in process, where an attacker would be closest. What can be learned by time is asked twice:
- of one key: does its own secret, refused for some other cause, take longer than any wrong one? Whoever holds
  an old token could ask so whether it was ever good;
- over all: does one cause take longer than another?
Each key is tried with two groups of wrong secrets, which differ in nothing: how far those lie apart is the
noise. Rounds are interleaved in random order, so that whatever else the machine does hits all alike, and the
lower decile is compared, which a busy machine hardly moves. Rounds are added while equals differ: what stops
that is the noise alone, never the result.

Not claimed: that a good key takes as long as a bad one (one digest less, and its holder knows it is good),
nor that a wrong checksum does (anybody can compute it), nor that a key which exists is as warm in the
processor's caches as one that does not: ids are public.
"""

from __future__ import annotations

import gc
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from authz.check import Call, judge
from authz.identity.apikey import Token, digest, encode_digest, fingerprint, new_token
from authz.identity.keyring import Keyring
from authz.limits.guard import Guard
from authz.model.reason import Detail, Reason
from authz.snapshot.snapshot import Snapshot
from tests.support.checks import check_request
from tests.support.decisions import NOW_US, Judge
from tests.support.policies import PEPPER, PROVIDER, snapshot
from tests.support.requests import client

POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules: [{name: keyed, effect: allow, identity: [partner-keys]}]
"""
OTHERS = """
kind: IdentityProvider
metadata: {name: other-keys}
spec: {customers: example, apiKey: {in: [{header: x-other-key}]}}
---
kind: Customer
metadata: {name: closed}
spec: {customers: example, enabled: false}
"""
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
# Cause -> what its ApiKey documents say besides; None: there is no document.
CAUSES: dict[Detail, str | None] = {
    Detail.KEY_UNKNOWN: None,
    Detail.KEY_SECRET_WRONG: "",
    Detail.KEY_REVOKED: "enabled: false",
    Detail.KEY_EXPIRED: f"expiresAt: {PAST}",
    Detail.KEY_NOT_YET_VALID: f"notBefore: {FUTURE}",
    Detail.KEY_ADDRESS: "addresses: [198.51.100.0/24, 2001:db8::/48]",
    Detail.CUSTOMER_DISABLED: "customer: closed",
    Detail.CREDENTIAL_NOT_OWNED: "provider: other-keys",
}
ROTATED_OUT = "rotated out"
PER_GROUP = 12  # keys of one cause: no single one is favoured by a cache
ROUNDS = 150
ROUNDS_MAX = 1500
QUIET = 0.015  # equals that differ by less say enough
# Of the whole time. For a look at the keys alone, one digest left out is 30 %, a generator where a loop
# would do is 11; which of some questions ends their list is 4, and is the same for every secret of one key.
OF_ONE_KEY = 0.04
OVER_ALL = 0.12
NOISES = 3.0


class Group(NamedTuple):
    """Keys that are refused for one cause; each token stands at its key's place in all three."""

    cause: str
    right: tuple[str, ...]  # with the secret that the document holds
    wrong: tuple[tuple[str, ...], tuple[str, ...]]  # with any other, twice


class World(NamedTuple):
    """A set of keys, and tokens that it refuses."""

    snapshot: Snapshot
    groups: tuple[Group, ...]


def _document(token: Token, more: str, secrets: str = "") -> str:
    fields = {"provider": "partner-keys", "customer": "acme"}
    for name, _, value in (part.partition(": ") for part in (more,) if part):
        fields[name] = value
    fields["secrets"] = f"[{secrets or _secret(token, 2)}]"
    written = "".join(f"  {name}: {value}\n" for name, value in fields.items())
    head = f"kind: ApiKey\nmetadata: {{name: k{token.key_id.lower()}}}\n"
    return f"{head}spec:\n  id: {token.key_id}\n{written}"


def _secret(token: Token, version: int, more: str = "") -> str:
    raw = encode_digest(digest(PEPPER, token.key_id, version, token.secret))
    return f"{{version: {version}, pepper: {fingerprint(PEPPER)!r}, digest: {raw}{more}}}"


def _rotated(token: Token) -> str:
    newer = new_token("ak", "live", token.key_id)
    return f"{_secret(newer, 2)}, {_secret(token, 1, f', expiresAt: {PAST}')}"


def _wrong(tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(new_token("ak", "live", one.key_id).render() for one in tokens)


def _make() -> World:
    texts: list[str] = []
    groups: list[Group] = []
    for cause in (*CAUSES, ROTATED_OUT):
        tokens = [new_token("ak", "live") for _ in range(PER_GROUP)]
        more = CAUSES[cause] if isinstance(cause, Detail) else ""
        if more is not None:
            texts += [_document(one, more, _rotated(one) if cause == ROTATED_OUT else "") for one in tokens]
        right = tuple(one.render() for one in tokens)
        if cause is Detail.KEY_SECRET_WRONG:  # the right one would be let in
            right = _wrong(tokens)
        groups.append(Group(str(cause), right, (_wrong(tokens), _wrong(tokens))))
    texts += [_document(new_token("ak", "live"), "") for _ in range(200)]
    return World(snapshot(PROVIDER, OTHERS, POLICY, *texts), tuple(groups))


@pytest.fixture(scope="module")
def world() -> World:
    return _make()


# --- what is compared


class Verdict(NamedTuple):
    """What came of measuring; differences are parts of the whole."""

    noise: float  # how far equals lie apart at most
    of_one_key: float  # how far the right secret and wrong ones do
    over_all: float  # how far causes do
    times_ns: Mapping[str, tuple[int, ...]]  # cause -> right, wrong, wrong
    rounds: int

    @property
    def alike(self) -> bool:
        """Whether nothing can be told by time."""
        blur = NOISES * self.noise
        return self.of_one_key <= max(OF_ONE_KEY, blur) and self.over_all <= max(OVER_ALL, blur)


Once = Callable[[tuple[str, ...]], None]


def measure(groups: Sequence[Group], once: Once) -> Verdict:
    """Measure until equals hardly differ."""
    subjects = [tokens for group in groups for tokens in (group.right, *group.wrong)]
    samples: list[list[int]] = [[] for _ in subjects]
    order = list(range(len(subjects)))
    dice = random.Random(1)
    tracer = (
        sys.gettrace()
    )  # coverage would be measured: what it adds for each line is more than a line takes
    gc.collect()
    gc.disable()
    sys.settrace(None)
    try:
        while True:
            for _ in range(ROUNDS):
                dice.shuffle(order)
                for at in order:
                    began = time.perf_counter_ns()
                    once(subjects[at])
                    samples[at].append(time.perf_counter_ns() - began)
            verdict = _judged(groups, samples)
            if verdict.noise <= QUIET or verdict.rounds >= ROUNDS_MAX:
                return verdict
    finally:
        sys.settrace(tracer)
        gc.enable()


def _judged(groups: Sequence[Group], samples: Sequence[Sequence[int]]) -> Verdict:
    low = [sorted(each)[len(each) // 10] / PER_GROUP for each in samples]
    whole = sorted(low)[len(low) // 2]
    threes = [(low[at], low[at + 1], low[at + 2]) for at in range(0, len(low), 3)]
    return Verdict(
        noise=max(abs(one - other) for _, one, other in threes) / whole,
        of_one_key=max(abs(right - (one + other) / 2) for right, one, other in threes) / whole,
        over_all=(max(map(sum, threes)) - min(map(sum, threes))) / 3 / whole,
        times_ns={group.cause: tuple(map(round, three)) for group, three in zip(groups, threes, strict=True)},
        rounds=len(samples[0]),
    )


def _verifying(keyring: Keyring) -> Once:
    here, owners = client(), frozenset({"partner-keys"})

    def once(tokens: tuple[str, ...]) -> None:
        for text in tokens:
            keyring.verify(text, NOW_US, here, owners)

    return once


def _judging(world: World) -> Once:
    guard = Guard(lambda: 0)
    everything = [tokens for group in world.groups for tokens in (group.right, *group.wrong)]
    calls = {tokens: [Call(1, _payload(text)) for text in tokens] for tokens in everything}

    def once(tokens: tuple[str, ...]) -> None:
        for call in calls[tokens]:
            judge(call, world.snapshot, guard, NOW_US)

    return once


def _payload(text: str) -> bytes:
    return check_request(host="items.example.com", path="/", headers=[("x-api-key", text)])


# --- tests


def test_every_group_is_refused_for_its_cause(world: World) -> None:
    """The measurements below would also hold of one cause measured many times."""
    for cause, right, wrong in world.groups:
        expected = Detail.KEY_EXPIRED if cause == ROTATED_OUT else cause
        other = Detail.KEY_UNKNOWN if cause == Detail.KEY_UNKNOWN else Detail.KEY_SECRET_WRONG
        for tokens, told in ((right, expected), (wrong[0], other), (wrong[1], other)):
            for text in tokens:
                answer = Judge(world.snapshot).answer(_payload(text))
                assert (answer.reason, answer.detail) == (Reason.CREDENTIAL_INVALID, told)


def test_answers_are_alike_to_the_byte(world: World) -> None:
    asked = Judge(world.snapshot)
    presented = [text for _, right, wrong in world.groups for text in (*right, *wrong[0])]
    answers = {asked.answer(_payload(text)).payload for text in presented}
    malformed = ("ak_live_", "", presented[0][:-1], presented[0] + "x", "Bearer x")
    answers |= {asked.answer(_payload(text)).payload for text in malformed}
    assert len(answers) == 1  # the decision id is fixed here


def test_the_look_at_the_keys_takes_as_long_whatever_is_wrong(world: World) -> None:
    verdict = measure(world.groups, _verifying(world.snapshot.keyring))
    assert verdict.alike, verdict


def test_a_whole_decision_takes_as_long_whatever_is_wrong(world: World) -> None:
    verdict = measure(world.groups, _judging(world))
    assert verdict.alike, verdict


class Hasty(Keyring):
    """A keyring as one would write it without thinking of time: it stops as soon as it knows."""

    __slots__ = ()

    def _verify_older(self, key, parts, cause, now_us, *, fits_current):  # type: ignore[no-untyped-def]  # as its base's
        if fits_current and cause is not None:
            return cause
        return super()._verify_older(key, parts, cause, now_us, fits_current=fits_current)


class Wordy(Keyring):
    """A keyring that takes a little longer for one cause: less than half a microsecond."""

    __slots__ = ()

    def _unproven(self, key):  # type: ignore[no-untyped-def]  # as its base's
        verdict = super()._unproven(key)
        if verdict is Detail.KEY_SECRET_WRONG:
            any(secret.pepper == "" for secret in (*key.secrets, *key.secrets, *key.secrets, *key.secrets))
        return verdict


@pytest.mark.parametrize("careless", [Hasty, Wordy])
def test_the_measurement_tells_a_careless_keyring(careless: type[Keyring], world: World) -> None:
    whole = world.snapshot.keyring
    made = careless((), None)
    for name in Keyring.__slots__:
        setattr(made, name, getattr(whole, name))
    verdict = measure(world.groups, _verifying(made))
    assert not verdict.alike, verdict

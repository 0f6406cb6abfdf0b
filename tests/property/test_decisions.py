"""Laws of whole decisions, from bytes to bytes: whatever comes, strangers stay outside."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.attack.spelling import fixed_spellings
from authz.record.entry import encode
from authz.snapshot.snapshot import Snapshot, not_ready
from tests.support.checks import check_request
from tests.support.fronts import Bench
from tests.support.policies import PROVIDER, MadeKey, snapshot
from tests.support.spellings import spelled_hosts, spelled_paths, wild_paths

patient = settings(max_examples=150, deadline=None)  # a busy machine is no fault of ours

# Everything is open but what lies under /admin; both readings of odd paths are judged on one of the hosts.
POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com, kept.example.com]
  rules:
    - {name: open, effect: allow, paths: [/public/**, "/x/**"], identity: [anyone]}
    - {name: admin, effect: allow, paths: [/admin, /admin/**], identity: [partner-keys]}
  onAllow: {headers: {x-auth-key-id: identity.key_id}}
"""
SITE = """
kind: Site
metadata: {name: kept}
spec: {hosts: [kept.example.com], path: {matrixParameters: keep, encodedSlash: keep}, methodOverride: remove}
"""
KEYS_ONLY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: ["*"]
  rules: [{name: r, effect: allow, identity: [partner-keys]}]
"""
KEY = MadeKey("k")
GUARDED = snapshot(PROVIDER, POLICY, SITE, KEY.document)
CLOSED = snapshot(PROVIDER, KEYS_ONLY, KEY.document)

names = st.sampled_from(
    ["x-api-key", "authorization", "cookie", "x-auth-key-id", "x-original-url", "upgrade", "host"]
)
values = st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"/admin", b"Bearer x", b"session=x", b"websocket", KEY.id.encode()]),
)
headers = st.lists(st.tuples(names, values), max_size=5)
_odd = st.one_of(spelled_paths("/admin"), spelled_paths("/admin/keys"), wild_paths(), st.text(max_size=12))
_begun = st.sampled_from(["/public/..", "/public/x", "/x", "/public/%2e%2e", "/public;a=", "/x/y%2F..%2F.."])
paths = st.one_of(_odd, st.tuples(_begun, _odd).map("".join))
hosts = st.one_of(
    st.sampled_from(["items.example.com", "kept.example.com"]), spelled_hosts("items.example.com")
)
methods = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "get", "TRACE", "CONNECT", "G T"])


def answer(made: Snapshot, payload: bytes) -> tuple[Any, Bench]:
    """Serve one check; there is exactly one reply, it is whole, and so is its record."""
    bench = Bench(lambda: made)
    reply = bench.serve(payload).reply(1)
    assert reply.HasField("status")
    if reply.status.code != 0:
        assert reply.denied_response.status.code >= 400
        assert reply.denied_response.body
    for option in [*reply.ok_response.headers, *reply.denied_response.headers]:
        assert option.HasField("append")
        assert not set(option.header.value) & set("\r\n\0")
    (answered,) = bench.keeper.answered
    line = encode(answered, made.fixed, 1)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert not bench.crashes, bench.crashes
    return reply, bench


@patient
@given(st.binary(max_size=300))
@example(b"")
@example(b"\x0a\x00")
@pytest.mark.parametrize(
    "made", [CLOSED, GUARDED, not_ready("nothing")], ids=["closed", "guarded", "not ready"]
)
def test_any_bytes_are_an_explicit_refusal(made: Snapshot, payload: bytes) -> None:
    reply, _ = answer(made, payload)
    assert reply.status.code != 0


@patient
@given(st.data())
def test_a_damaged_check_is_never_more_than_the_whole_one(data: st.DataObject) -> None:
    payload = bytearray(
        check_request(host="items.example.com", path="/admin/x?a=b", headers=[("x-api-key", "no")])
    )
    for _ in range(data.draw(st.integers(1, 5))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    reply, _ = answer(CLOSED, bytes(payload))
    assert reply.status.code != 0


@patient
@given(
    paths,
    hosts,
    methods,
    headers,
    st.sampled_from(["raw", "map", "none"]),
)
def test_no_spelling_reaches_a_protected_path_without_a_key(
    path: str, host: str, method: str, sent: list[tuple[str, bytes]], mode: Any
) -> None:
    payload = check_request(method=method, host=host, path=path, headers=sent, mode=mode)
    reply, bench = answer(GUARDED, payload)
    if reply.status.code == 0:
        assert bench.keeper.answered[0].decision.grant.rules[0].rule == "open"  # type: ignore[union-attr] # an Allow
        assert path.startswith(("/public", "/x"))
        assert "admin" not in _plain(path)


def _plain(path: str) -> str:
    """Undo escapes and parameters as the most generous upstream does, and climb."""
    before, text = "", path.partition("?")[0]
    while before != text:
        before, text = text, unquote(text)
    segments: list[str] = []
    for segment in text.replace("\\", "/").split("/"):
        bare = segment.partition(";")[0]
        if bare == "..":
            del segments[-1:]
        elif bare not in ("", "."):
            segments.append(bare)
    return segments[0].lower() if segments else ""


@pytest.mark.parametrize("host", ["items.example.com", "kept.example.com"])
def test_every_known_spelling_of_a_protected_path_is_refused_to_strangers(host: str) -> None:
    for path in fixed_spellings("/admin/keys"):
        reply, _ = answer(GUARDED, check_request(host=host, path=path))
        assert reply.status.code != 0, path


@patient
@given(headers, hosts)
def test_what_we_set_for_the_upstream_is_ours_alone(sent: list[tuple[str, bytes]], host: str) -> None:
    payload = check_request(host=host, path="/public/a", headers=sent)
    reply, _ = answer(GUARDED, payload)
    if reply.status.code == 0:
        ours = {option.header.key: option.header.value for option in reply.ok_response.headers}
        assert ours.get("x-auth-key-id", "") == ""  # nobody was proven, whatever was sent
        if any(name == "x-auth-key-id" for name, _ in sent):
            assert "x-auth-key-id" in reply.ok_response.headers_to_remove


@patient
@given(st.lists(st.tuples(st.sampled_from([b"", b"\xff", None]), st.booleans()), max_size=8))
def test_a_batch_answers_each_as_if_it_came_alone(calls: list[tuple[bytes | None, bool]]) -> None:
    payloads = [
        check_request(host="items.example.com", path="/public/a" if opened else "/admin")
        if raw is None
        else raw
        for raw, opened in calls
    ]
    together = Bench(lambda: GUARDED).serve(*payloads)
    for number, payload in enumerate(payloads, 1):
        alone = Bench(lambda: GUARDED).serve(payload)
        assert together.reply(number).status.code == alone.reply(1).status.code


def test_a_key_opens_what_is_protected() -> None:
    """The laws above would also hold of a wall."""
    payload = check_request(host="items.example.com", path="/admin/keys", headers=[("x-api-key", KEY.token)])
    assert answer(GUARDED, payload)[0].status.code == 0

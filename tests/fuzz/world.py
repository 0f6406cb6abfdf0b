"""A small sidecar to ask: part of it open, part of it behind a key, and what must hold of every answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from envoy.service.auth.v3 import external_auth_pb2

from authz.attack.oracle import falls_under, readings
from authz.model.decision import Allow, Answered
from authz.model.request import Request
from authz.record.entry import encode
from tests.support.decisions import DECISION_ID, NOW_US, Answer, Judge
from tests.support.keys import TOKEN
from tests.support.policies import PROVIDER, snapshot

# The contract's test vector, so that inputs stay good from run to run.
_KEY = """
kind: ApiKey
metadata: {name: reader}
spec:
  id: k7Qm2VxP0aZs
  provider: partner-keys
  customer: acme
  scopes: [items:read]
  secrets: [{version: 1, pepper: "e09102e2", digest: MoFSZtaD4A8M8Zqv88J1kuAVp7O4wz7aOgIxwCA0Vbg}]
"""
_POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [items.example.com, kept.example.com]
  rules:
    - {name: open, effect: allow, paths: [/public/**, "/x/{id}"], identity: [anyone]}
    - {name: admin, effect: allow, paths: [/admin, /admin/**], identity: [partner-keys], limits: [per-key]}
    - {name: rpc, effect: allow, grpc: [{service: shop.Orders}], identity: [partner-keys]}
    - name: odd
      effect: deny
      when: request.header_values[?"x-odd"].orValue([]).exists(v, v == "yes") || "odd" in request.query
  onAllow: {headers: {x-auth-key-id: identity.key_id, x-auth-id: 'params[?"id"].orValue("")'}}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id, client.network], rate: 1000000/s}
---
kind: Site
metadata: {name: kept}
spec:
  hosts: [kept.example.com]
  path: {matrixParameters: keep, encodedSlash: keep}
  methodOverride: remove
  guard: {rate: 20/s, burst: 1}
  reasons: full
  onDeny: {unauthenticated: {redirect: {to: "https://login.example.com/start", returnTo: next}}}
"""
WORLD = snapshot(PROVIDER, _POLICY, _KEY)
PROTECTED = ("/admin", "/shop.Orders")
_READINGS_MAX = 64  # characters; see `targets/path.py`
_RECORD_MAX_BYTES = 64 * 1024
_SECRET = re.compile(r"[0-9A-Za-z]{12}_[0-9A-Za-z]{43}|ak_live_[0-9A-Za-z]{12}_[0-9A-Za-z]")
_KEYS = frozenset({"admin", "rpc"})


def ask(payload: bytes) -> Answer:
    """Ask a sidecar that knows nobody yet, and check what holds of any answer to anything."""
    answer = Judge(WORLD).answer(payload)
    assert answer.payload
    message = answer.message
    assert message.HasField("status")
    if not answer.allowed:
        assert message.denied_response.status.code >= 300
        assert answer.status == message.denied_response.status.code
    for option in [*message.ok_response.headers, *message.denied_response.headers]:
        assert option.HasField("append")
        assert not set(option.header.value) & set("\r\n\0")
    _is_no_stranger(answer, payload)
    _is_one_line(answer)
    return answer


def _is_no_stranger(answer: Answer, payload: bytes) -> None:
    """What is behind a key opens for the key alone, and no reading of an open path leads there."""
    decision, request = answer.check.decision, answer.check.request
    if not isinstance(decision, Allow):
        return
    assert isinstance(request, Request)
    rules = {name.rule for name in decision.grant.rules}
    if rules & _KEYS:
        assert TOKEN.encode() in payload
        assert answer.check.caller.identity.key_id == "k7Qm2VxP0aZs"
        return
    assert rules == {"open"}
    path = _sent_path(payload)
    if len(path) <= _READINGS_MAX and "23" not in path:  # an encoded `#`; see there
        assert not any(falls_under(reading, prefix) for reading in readings(path) for prefix in PROTECTED)


def _is_one_line(answer: Answer) -> None:
    check = answer.check
    answered = Answered(DECISION_ID, NOW_US, check.request, check.caller, check.decision, answer.status, 1)
    line = encode(answered, WORLD.fixed, 1)
    assert line.isascii()
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert len(line) <= _RECORD_MAX_BYTES
    record = json.loads(line)
    assert not shows_a_secret(record)
    assert record["outcome"] == ("allow" if answer.allowed else "deny")
    assert record["status"] == answer.status


def texts_of(value: object) -> Iterator[str]:
    """Yield every text in what a record says, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from (name, *texts_of(part))
    elif isinstance(value, list):
        for part in value:
            yield from texts_of(part)


def shows_a_secret(record: object) -> bool:
    """Whether a token, or what is left of one, stands in a record."""
    return any(map(_SECRET.search, texts_of(record)))


def _sent_path(payload: bytes) -> str:
    """Return the path as it was sent, without query."""
    sent: str = external_auth_pb2.CheckRequest.FromString(payload).attributes.request.http.path
    return sent.partition("?")[0]

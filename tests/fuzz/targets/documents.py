"""A policy set out of any file: served or refused with places; what is served allows nobody unnamed."""

from __future__ import annotations

import time

from authz.identity.keyring import Peppers
from authz.model.decision import Allow
from authz.model.errors import PolicyError, SnapshotRejected
from authz.policy.loaded import Loaded
from authz.snapshot.build import Built, Surroundings, build
from tests.fuzz.target import Target
from tests.support.checks import check_request
from tests.support.decisions import Judge
from tests.support.documents import HEAD, PER_KEY, PROVIDER
from tests.support.keys import PEPPER

BASE = {"base.yaml": f"{PROVIDER}---\n{PER_KEY}".encode()}
AROUND = Surroundings(Peppers(PEPPER))
_CPU_S = 1.0  # threats.md: a load error in under a second
STRANGERS = [
    check_request(method=method, host=host, path=path)
    for host in ("a.example.com", "b.a.example.com", "other.test")
    for method, path in (("GET", "/"), ("POST", "/a/b"), ("GET", "/a?b=c"))
]


def run(data: bytes) -> None:
    """Load one file beside a provider and a limit."""
    began = time.thread_time()
    built: Built | None = None
    faults: list[PolicyError] = []
    try:
        built = build({**BASE, "f.yaml": data}, AROUND, 0)
    except SnapshotRejected as rejected:
        faults = rejected.faults
    assert time.thread_time() - began < _CPU_S
    assert (built is None) == bool(faults)
    for fault in faults:
        assert fault.place.line >= 1
        assert fault.place.column >= 1
        assert fault.what.isprintable()
        assert "pydantic" not in fault.what
    if built is not None:
        _is_served(built, data)


def _is_served(built: Built, data: bytes) -> None:
    assert build({**BASE, "other.yaml": data}, AROUND, 1).loaded.revision == built.loaded.revision
    for warning in built.warnings:
        assert warning.what.isprintable()
    for payload in STRANGERS:
        answer = Judge(built.snapshot).answer(payload)
        if isinstance(answer.check.decision, Allow):
            _is_meant(answer.check.decision, built.loaded)


def _is_meant(allow: Allow, loaded: Loaded) -> None:
    """Each rule that let a stranger in says that it lets strangers in, in an enforcing policy."""
    written = {
        (policy.name, rule.name): (policy, rule) for policy in loaded.policies for rule in policy.spec.rules
    }
    for name in allow.grant.rules:
        policy, rule = written[name.policy, name.rule]
        assert policy.spec.mode == "enforce"
        assert rule.effect == "allow"
        assert {"anyone", "anonymous"} & set(rule.identity or ())


TARGET = Target(
    run,
    2048,
    (
        *(HEAD.encode(), b"kind: Policy\n", b"kind: Limit\n", b"kind: Site\n", b"kind: Customer\n", b"---\n"),
        *(b"kind: ApiKey\n", b"kind: IdentityProvider\n", b"kind: PolicyTest\n", b"metadata: {name: p}\n"),
        *(
            b"spec:\n",
            b"  hosts: [a.example.com]\n",
            b'["*"]',
            b"  rules: [{",
            b"name: r, ",
            b"effect: allow, ",
        ),
        *(b"effect: deny, ", b"identity: [anyone], ", b"identity: [keys], ", b"identity: [anonymous], "),
        *(
            b"paths: [/a/**], ",
            b"methods: [GET], ",
            b"when: 'true'",
            b"limits: [per-key], ",
            b"upgrade: [websocket]",
        ),
        *(
            b"grpc: [{service: a.B}], ",
            b"peers: ['spiffe://a/*'], ",
            b"addresses: [10.0.0.0/8], ",
            b"mode: shadow",
        ),
        *(
            b"onAllow: {headers: {x-a: identity.key_id}}",
            b"rate: 1/s",
            b"burst: 5",
            b"per: [identity.key_id]",
        ),
        *(b"cost: '1'", b"tiers: [{when: 'true', rate: 1/s}]", b"reasons: full", b"{tenant}.example.com"),
    ),
)

"""Laws of documents in shadow: they change nothing, and what they say of themselves is true."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.limits.memory import MemoryLimiter
from authz.model.decision import Allow, Answered
from authz.model.shadow import Would
from authz.record.entry import encode
from authz.snapshot.snapshot import Snapshot
from tests.support.checks import check_request
from tests.support.fronts import Bench
from tests.support.policies import PROVIDER, MadeKey, snapshot

patient = settings(max_examples=200, deadline=None)  # a busy machine is no fault of ours

OTHER_PROVIDER = """
kind: IdentityProvider
metadata: {name: other-keys}
spec: {customers: example, apiKey: {in: [{header: x-other-key}, {cookie: session}]}}
"""
ENFORCED = """
kind: Policy
metadata: {name: served}
spec:
  hosts: [items.example.com, kept.example.com]
  rules:
    - {name: keys, effect: allow, paths: ["/keys/**"], identity: [partner-keys], limits: [per-key, tried]}
    - {name: open, effect: allow, paths: ["/open/**"], identity: [anyone], limits: [tried-network]}
    - {name: strangers, effect: allow, paths: ["/free/**"], identity: [anonymous]}
    - {name: blocked, effect: deny, when: '"blocked" in request.headers'}
    - {name: fails, effect: deny, paths: ["/open/strict"], when: 'request.headers["gone"] == "1"'}
  onAllow: {headers: {x-auth-key-id: identity.key_id}}
---
kind: Site
metadata: {name: kept}
spec: {hosts: [kept.example.com], path: {matrixParameters: keep}}
"""
LIMITS = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/d, burst: 2}
---
kind: Limit
metadata: {name: tried}
spec: {per: [identity.customer], rate: 1/d, burst: 1, mode: MODE}
---
kind: Limit
metadata: {name: tried-network}
spec: {per: [client.network, 'request.headers["x-part"]'], rate: 1/d, burst: 1, mode: MODE}
"""
UNLIMITED = ENFORCED.replace(", tried]", "]").replace(", limits: [tried-network]", "")
KEY, OTHER_KEY = MadeKey("k"), MadeKey("o", customer="globex", scopes="items:write")
OTHERS = OTHER_KEY.document.replace("provider: partner-keys", "provider: other-keys")
COMMON = (PROVIDER, OTHER_PROVIDER, KEY.document, OTHERS)

paths = st.sampled_from(
    ["/keys/a", "/open/a", "/open/strict", "/free/a", "/none", "/new/a", "/open/a;x=1", "/keys/b;p", "/a;b/c"]
)
tokens = st.sampled_from(["", KEY.token, OTHER_KEY.token, "wrong", KEY.token + "0"])
headers = st.lists(
    st.sampled_from([("blocked", "1"), ("x-part", "a"), ("x-group", "red"), ("x-auth-plan", "forged")]),
    max_size=3,
    unique=True,
)
requests = st.builds(
    lambda host, path, key, other, sent, method: check_request(
        host=host,
        path=path,
        method=method,
        headers=[
            *sent,
            *([("x-api-key", key)] if key else []),
            *([("x-other-key", other)] if other else []),
        ],
    ),
    st.sampled_from(["items.example.com", "kept.example.com", "new.example.com", "un known"]),
    paths,
    tokens,
    tokens,
    headers,
    st.sampled_from(["GET", "POST", "get"]),
)

identities = st.sampled_from(
    ["[anyone]", "[anonymous]", "[partner-keys]", "[other-keys]", "[partner-keys, anonymous]"]
)
conditions = st.sampled_from(
    [
        "",
        "'true'",
        "'false'",
        "request.method == 'GET'",
        "'\"items:read\" in identity.scopes'",
        "identity.anonymous",
        "request.headers['x-group'] == 'red'",
        "identity.labels['gone'] == 'x'",
    ]
)


@st.composite
def rules(draw: st.DrawFn, name: str) -> str:
    effect = draw(st.sampled_from(["allow", "deny"]))
    parts = [f"name: {name}", f"effect: {effect}"]
    if effect == "allow" or draw(st.booleans()):
        parts.append(f"identity: {draw(identities)}")
    path = draw(st.sampled_from(["", '"/keys/**"', '"/open/**"', '"/new/{id}"', "/free/a", "/none"]))
    if path:
        parts.append(f"paths: [{path}]")
    when = draw(conditions)
    if when:
        text = when.strip("'") if when.startswith("'") and when.endswith("'") else when
        parts.append("when: " + json.dumps(text))
    if effect == "allow" and draw(st.booleans()):
        parts.append(
            "limits: [" + draw(st.sampled_from(["per-key", "tried", "per-key, tried-network"])) + "]"
        )
    return "{" + ", ".join(parts) + "}"


@st.composite
def policies(draw: st.DrawFn) -> str:
    """Write the rules of a policy that says `mode: MODE`."""
    several = [draw(rules(f"r{number}")) for number in range(draw(st.integers(1, 3)))]
    hosts = draw(st.sampled_from(["items.example.com", '"*.example.com"', '"*"', "kept.example.com"]))
    headers = draw(st.sampled_from(["identity.customer", "request.headers['x-part']"]))
    on_allow = f'  onAllow: {{headers: {{x-auth-plan: "{headers}"}}}}\n' if draw(st.booleans()) else ""
    listed = "".join(f"    - {rule}\n" for rule in several)
    return (
        "kind: Policy\nmetadata: {name: tried}\n"
        f"spec:\n  mode: MODE\n  hosts: [{hosts}]\n  rules:\n{listed}{on_allow}"
    )


def tried(*rules_: str) -> str:
    """Write the policy of an example."""
    listed = "".join(f"    - {{{rule}}}\n" for rule in rules_)
    return f'kind: Policy\nmetadata: {{name: tried}}\nspec:\n  mode: MODE\n  hosts: ["*"]\n  rules:\n{listed}'


def asking(path: str, *headers: tuple[str, str], host: str = "items.example.com") -> bytes:
    return check_request(host=host, path=path, headers=headers)


ALL = "name: all, effect: allow, identity: [anyone]"
OTHERS_ONLY = "name: others, effect: allow, identity: [other-keys]"
NO_STRANGERS = "name: strangers, effect: deny, when: identity.anonymous"


def made(mode: str, limit_mode: str, *texts: str) -> Snapshot:
    limits = LIMITS.replace("MODE", limit_mode)
    return snapshot(*COMMON, limits, *(text.replace("MODE", mode) for text in texts))


def serve(what: Snapshot, several: list[bytes]) -> tuple[list[bytes], list[Answered], MemoryLimiter]:
    """Serve requests one by one; return the replies without their ids, and what was kept."""
    bench = Bench(lambda: what)
    limiter = MemoryLimiter(bench.clock.ticks_us)
    bench = Bench(lambda: what, limiter=limiter)
    replies = []
    for number, payload in enumerate(several):
        front = bench.serve(payload)
        (reply,) = front.replies.pop(1)
        replies.append(reply.replace(bench.keeper.answered[number].decision_id.encode(), b"ID"))
    assert not bench.crashes, bench.crashes
    return replies, bench.keeper.answered, limiter


@patient
@given(policies(), st.lists(requests, min_size=1, max_size=4))
def test_documents_in_shadow_change_no_reply_and_no_enforced_bucket(policy: str, asked: list[bytes]) -> None:
    without, _, plain = serve(made("shadow", "enforce", UNLIMITED), asked)
    shaded, answered, limiter = serve(made("shadow", "shadow", ENFORCED, policy), asked)
    assert shaded == without
    assert limiter._buckets == plain._buckets
    for one in answered:
        assert json.loads(encode(one, made("shadow", "shadow", UNLIMITED).fixed, 1))


@patient
@given(policies(), requests)
# A bad credential is refused before the enforcing deny rules are asked; beside a rule for anyone they are.
@example(tried(ALL), asking("/keys/a", ("x-api-key", "wrong"), ("blocked", "1")))
@example(tried(ALL), asking("/keys/a", ("x-api-key", "wrong")))
# Enforced, its own allow rule would have another credential read, so the caller would be somebody.
@example(tried(OTHERS_ONLY, NO_STRANGERS), asking("/open/a", ("x-other-key", OTHER_KEY.token)))
# A bad key is not the absence of one.
@example(tried("name: a, effect: allow, identity: [anonymous]"), asking("/keys/a", ("x-api-key", "wrong")))
@example(tried(ALL, NO_STRANGERS), asking("/open/a;x", host="kept.example.com"))
@example(
    tried('name: a, effect: deny, paths: ["/open/{p}"], when: \'params.p == "a"\''),
    asking("/open/a;x", host="kept.example.com"),
)
@example(
    tried('name: a, effect: allow, identity: [anyone], paths: ["/b/{p}"], when: \'params.p == "c;x"\''),
    asking("/b/c;x", host="kept.example.com"),
)
def test_what_a_policy_in_shadow_says_is_what_comes_of_enforcing_it(policy: str, asked: bytes) -> None:
    """One request, so that every bucket is full: what the policy's limits say is asked elsewhere."""
    _, (shaded,), _ = serve(made("shadow", "enforce", UNLIMITED, policy), [asked])
    _, (enforced,), _ = serve(made("enforce", "enforce", UNLIMITED, policy), [asked])
    said = [shade for shade in shaded.shadow if not shade.limit]
    if any(shade.would is Would.UNDECIDABLE for shade in said):
        return  # nothing is said; when that is so, tests/unit/policy/test_shadow.py asks
    assert len(said) <= 1
    changes = any(shade.changes for shade in said)
    assert _passed(enforced) == (_passed(shaded) ^ changes), said
    for shade in said:
        if shade.would is Would.ALLOW and _passed(enforced):
            assert ("tried", shade.rule) in enforced.decision.grant.rules  # type: ignore[union-attr] # an Allow
        if shade.would is Would.DENY:
            assert not _passed(enforced)


@patient
@given(st.lists(requests, min_size=1, max_size=5))
def test_what_a_limit_in_shadow_says_is_what_comes_of_enforcing_it(asked: list[bytes]) -> None:
    """Up to the first request that it would have refused: from there on the buckets differ."""
    _, shaded, _ = serve(made("", "shadow", ENFORCED), asked)
    _, enforced, _ = serve(made("", "enforce", ENFORCED), asked)
    for tried, real in zip(shaded, enforced, strict=True):
        changes = any(shade.changes for shade in tried.shadow)
        assert _passed(real) == (_passed(tried) ^ changes), tried.shadow
        if changes:
            return


def _passed(answered: Answered) -> bool:
    return isinstance(answered.decision, Allow)


def test_the_laws_above_meet_every_kind_of_answer() -> None:
    """They would also hold of a sidecar that never asks anybody in shadow."""
    policy = """
kind: Policy
metadata: {name: tried}
spec:
  mode: shadow
  hosts: ["*"]
  rules:
    - {name: all, effect: allow, identity: [anyone], paths: ["/open/**", "/new/{id}"], limits: [per-network]}
    - {name: others, effect: allow, identity: [other-keys], paths: [/none]}
    - {name: no, effect: deny, when: 'request.headers["x-group"] == "red"', paths: ["/free/**"]}
---
kind: Limit
metadata: {name: per-network}
spec: {per: [client.network], rate: 1/d}
"""
    ask = [
        ("/open/a", ""),
        ("/new/1", ""),
        ("/none", ""),
        ("/free/a", ""),
        ("/free/a", "red"),
        ("/open/a", ""),
    ]
    asked = [
        check_request(
            host="items.example.com", path=path, headers=[("x-group", group)] if group else [("x-part", "a")]
        )
        for path, group in ask
    ]
    _, answered, _ = serve(made("", "shadow", ENFORCED, policy), asked)
    told = [[(shade.would.value, shade.limit, shade.changes) for shade in one.shadow] for one in answered]
    assert told == [
        [
            ("allow", "", False),
            ("allow", "tried-network", False),
            ("allow", "per-network", False),
        ],
        [("allow", "", True)],
        [("undecidable", "", False)],
        [("error", "", True)],
        [("deny", "", True)],
        [
            ("allow", "", True),
            ("deny", "tried-network", True),
            ("deny", "per-network", False),
        ],
    ]

"""The page about `authz policy explain`: its examples are explained anew whenever it is written."""

from __future__ import annotations

from collections.abc import Iterator

from authz.cli.explain_text import lines
from authz.identity.keyring import Peppers
from authz.model.decision import Answered
from authz.record.entry import encode
from authz.rehearsal.explaining.explain import explain
from authz.rehearsal.explaining.explanation import Explanation
from authz.rehearsal.explaining.kept import read_record
from authz.rehearsal.explaining.recorded import explain_record
from authz.rehearsal.scene import Cast, Scene, message_of, play, stage
from authz.snapshot.build import Builder, Built, Surroundings

NOW_US = 1_780_315_200_000_000  # 2026-06-01T12:00:00Z, as in the examples of PolicyTest
DECISION_ID = "01a2043b-aabe-77e7-96c4-0bc73c9bc3e5"

INTRODUCTION = """\
Why did I get a 403? `authz policy explain` answers with each step of the decision: the request as it is
read, the rules that speak about it and those that nearly do, who asks and how that is known, every rule
with the value of its condition, limits, and what the client and the application get. It decides with the
very code that serves, so its answer is the served one; it asks nobody, spends no token and changes
nothing.

```sh
authz policy explain policies --host items.example.com --path /api/v1/items --method POST --as acme-reporting
authz policy explain policies --request check.json
authz policy explain policies --decision 01a2043b-aabe-77e7-96c4-0bc73c9bc3e5 --records records.jsonl
```

Exit codes: 0 explained, whatever the answer is; 1 the set is invalid, or there is no record of the
decision; 2 wrong usage; 3 a file or an address cannot be used. To hold a set to expected answers, write a
PolicyTest: [policies.md](policies.md)."""

SET = """\
apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules:
    - name: read
      effect: allow
      methods: [GET]
      paths: [/api/v1/items, "/api/v1/items/{id}"]
      identity: [partner-keys]
      when: '"items:read" in identity.scopes'
      limits: [per-key]
    - name: write
      effect: allow
      methods: [POST]
      paths: [/api/v1/items]
      identity: [partner-keys]
      when: '"items:write" in identity.scopes'
      limits: [per-key]
    - name: no-legacy
      effect: deny
      when: 'request.headers[?"user-agent"].orValue("").startsWith("legacy/")'
  onAllow: {headers: {x-customer: identity.customer}}
---
apiVersion: policy.authz/v1alpha1
kind: IdentityProvider
metadata: {name: partner-keys}
spec: {customers: example, apiKey: {in: [{header: x-api-key}]}}
---
apiVersion: policy.authz/v1alpha1
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 100/s, burst: 200}
---
apiVersion: policy.authz/v1alpha1
kind: ApiKey
metadata: {name: acme-reporting}
spec:
  id: k7Qm2VxP0aZs
  provider: partner-keys
  customer: acme
  scopes: [items:read]
  secrets: [{version: 1, pepper: "e09102e2", digest: MoFSZtaD4A8M8Zqv88J1kuAVp7O4wz7aOgIxwCA0Vbg}]
"""

FLAGS: tuple[tuple[str, str], ...] = (
    (
        "`--method`, `--host`, `--path`, `--scheme`",
        "the request as it is sent; the query belongs to the path",
    ),
    (
        "`--header K:V`",
        "a header; repeat it. `@FILE` reads headers from a file, one a line, `@-` from standard input",
    ),
    (
        "`--as KEY-NAME`",
        "a valid token of that ApiKey document is presented; its expiry, addresses and customer still count",
    ),
    (
        "`--identity JSON`",
        'a provider has proven somebody: `{"provider": "partner-keys", "customer": "acme"}`, as in a'
        " PolicyTest",
    ),
    (
        "`--address IP`",
        "the direct peer; with `--trusted-hops` the client's address comes from `x-forwarded-for`",
    ),
    ("`--principal`", "the workload that Envoy authenticated by mTLS"),
    ("`--upgrade`", "the protocol to switch to"),
    ("`--at TIME`", "when it is judged; default: now"),
    (
        "`--request FILE.json`",
        "instead of all these a whole `CheckRequest` in JSON, as grpcurl takes it; `-` is standard input",
    ),
    ("`--scopes DIR`, `--overrides DIR`", "as of `serve`"),
    ("`--output json`", "for machines; the fields are below"),
)

DESCRIBED = """\
How requests are read (served hosts, trusted proxies, listed context) comes from `authz.toml` and the
environment, as for `serve`. A real token that a header carries is verified where `API_KEY_SALT` is set;
it belongs into a file, not on the command line."""

READING = """\
The numbers are those of the steps in which a request is decided. Under *Candidates*, `+` marks rules
that speak about this host, path and method; `not` marks the nearest that do not, and for what. Each rule
then says:

| says | means |
| --- | --- |
| allows, DENIES | everything that it asks for is there, and its condition is true, or it has none |
| does not fit | identity, peer, address or upgrade is another: the line with `no` |
| its condition is false | below it, the variables that it names, as it saw them |
| its condition failed | a deny rule that fails denies, an allow rule that fails does not allow |
| not asked | the credential is not good and no rule for `anyone` holds: that is the end |

Limits are shown with full buckets: a request is refused here only if it costs more than one ever holds."""

COVERED = """\
Credentials appear as `***`, wherever they stand: values of places that a provider reads, of headers
whose name smells of one, and everything of the form of a token. Values of other headers and query
parameters are shown only where a condition names them."""

RECORDED = """\
`--decision ID` explains a decision that was made, from its record alone: in a file of records
(`--records FILE`, `-` is standard input), or at the debug socket of the sidecar that made it (`--debug
unix:PATH`). A record keeps no query and few headers: what it does not keep is listed as not recorded,
and nothing is guessed. Where the directories are named too, the rules of the set are added: those that
the record names, those that cannot have fit or whose condition was false by what the record keeps; of
any other the line is `not recorded`. A set of another revision than the record's is said to be one."""


def built() -> Built:
    """Return the set of the page."""
    surroundings = Surroundings(Peppers(b"example-pepper-of-32-bytes-long!"))
    return Builder(surroundings).build({"policies/items.yaml": SET.encode()}, 0)


def _plain(text: str, _: str) -> str:
    return text


def _text(explained: Explanation) -> str:
    return "\n".join(lines(explained, _plain))


def examples() -> Iterator[tuple[str, str]]:
    """Yield the command and the output of each example."""
    made, at = built(), "--at 2026-06-01T12:00:00Z"
    command = f"authz policy explain policies --host items.example.com --path /api/v1/items {at}"
    post = Scene("items.example.com", "/api/v1/items", "POST")
    message = message_of(post, NOW_US)
    yield (
        f"{command} --method POST --as acme-reporting",
        _text(explain(made, message, Cast("acme-reporting"), NOW_US)),
    )
    get = message_of(Scene("items.example.com", "/api/v1/items"), NOW_US)
    yield f"{command} --as acme-reporting", _text(explain(made, get, Cast("acme-reporting"), NOW_US))


def recorded() -> tuple[str, str, str]:
    """Return a record, the command that explains it, and its explanation."""
    made = built()
    staged = stage(
        made,
        message_of(Scene("items.example.com", "/api/v1/items", "POST"), NOW_US),
        Cast("acme-reporting"),
        NOW_US,
    )
    check = play(staged, NOW_US)
    answered = Answered(DECISION_ID, NOW_US, check.request, check.caller, check.decision, 403, 31)
    line = encode(answered, made.snapshot.fixed, 7)
    command = f"authz policy explain policies --decision {DECISION_ID} --records records.jsonl"
    return line.decode(), command, _text(explain_record(read_record(line), made))

"""Every field of every kind: what it refuses, where, and in which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authz.model.reason import Coarse
from authz.policy.document import KINDS, json_schema
from tests.support.documents import (
    DIGEST,
    PER_KEY,
    PROVIDER,
    document,
    faults,
    key,
    loaded,
    place_of_mark,
    policy,
)

SECRET = f"{{version: 1, pepper: e09102e2, digest: {DIGEST}}}"
ALLOW = "effect: allow, identity: [anyone]"
SCHEMA = Path(__file__).parents[3] / "policies/schema/policy.schema.json"


def told(text: str) -> list[str]:
    """Return the faults of one document, without their places."""
    return [fault.split(": ", 1)[1] for fault in faults(text)]


def rule(more: str) -> str:
    return policy(f"{ALLOW}, {more}")


def limit(more: str) -> str:
    return document("Limit", "x", f"{{per: [identity.key_id], {more}}}")


def site(more: str) -> str:
    return document("Site", "x", f"{{hosts: [a.example], {more}}}")


def provider(places: str) -> str:
    return document("IdentityProvider", "x", f"{{apiKey: {{in: {places}}}}}")


def test_a_rule_that_says_everything_is_accepted() -> None:
    more = (
        "methods: [GET, POST, M-SEARCH], paths: [/a], peers: ['spiffe://a/*', 'CN=x, O=y'], "
        "addresses: [10.0.0.0/8, '2001:db8::/32'], upgrade: [websocket], when: 'true'"
    )
    assert faults(rule(more)) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        # structure
        (policy("effect: §permit"), "`spec.rules[0].effect` cannot be `permit`: write `allow` or `deny`"),
        (policy("§efect: allow"), "unknown field `spec.rules[0].efect`: did you mean `effect`?"),
        (
            policy("§x: 1, effect: deny"),
            "unknown field `spec.rules[0].x`: write one of `addresses`, `effect`,",
        ),
        (policy("effect: §[deny]"), "`spec.rules[0].effect` cannot be `['deny']`: write `allow` or `deny`"),
        (policy("when: x").replace("[{name", "[§{name"), "`spec.rules[0].effect` is missing: write it"),
        (document("Policy", "p", "§{hosts: [a]}"), "`spec.rules` is missing: write it"),
        (document("Policy", "p", "§[]"), "`spec` must be a mapping, not a list"),
        (document("Policy", "p", "{hosts: §a, rules: []}"), "`spec.hosts` must be a list, not a text"),
        (document("Policy", "p", "{hosts: §[], rules: []}"), "`spec.hosts` is empty: write at least one"),
        (
            document("Policy", "p", "{hosts: [a], rules: [§1]}"),
            "`spec.rules[0]` must be a mapping, not a number",
        ),
        (policy(ALLOW, name="§A_b"), "`metadata.name`: `A_b` is not a name: write `a-z`"),
        (policy(ALLOW, name="§" + "a" * 64), "is not a name"),
        (policy(ALLOW, name="x, labels: {a: §1}"), "`metadata.labels.a` must be a text, not a number"),
        (policy(ALLOW, name="x, §version: y"), "unknown field `metadata.version`"),
        # hosts and rules
        (
            policy(ALLOW, hosts="[§A.example]"),
            "`spec.hosts[0]`: `A.example` is not written as hosts are compared",
        ),
        (policy(ALLOW, hosts="§[a, b, a]"), "`spec.hosts`: `a` stands twice: remove one"),
        (rule("methods: §[]"), "`spec.rules[0].methods` is empty: write at least one, or remove the line"),
        (rule("methods: [§get]"), "`spec.rules[0].methods[0]`: `get` is not upper case: write `GET`"),
        (rule("methods: [§HEAD]"), "`HEAD` is read as GET everywhere: write `GET`"),
        (rule("methods: [GET, §TRACE]"), "`spec.rules[0].methods[1]`: `TRACE` is refused in every request"),
        (rule("methods: [§TRACK]"), "`TRACK` is refused in every request"),
        (rule("methods: [§CONNECT]"), "`CONNECT` is refused in every request"),
        (rule("methods: [§'*']"), "`*` is not a method"),
        (rule("methods: [§'G ET']"), "`G ET` is not a method"),
        (rule("methods: §[GET, GET]"), "`GET` stands twice"),
        (rule("paths: [§a]"), "`spec.rules[0].paths[0]`: `a` must begin with `/`"),
        (rule("paths: [§/a/../b]"), "a dot segment is refused"),
        (rule("§identity: [x_y]"), "`identity` stands twice: remove one"),
        (rule("grpc: §[]"), "`spec.rules[0].grpc` is empty"),
        (rule("grpc: [{service: §a b}]"), "`a b` is not a gRPC service"),
        (rule("grpc: [{service: a.B, methods: [§x.y]}]"), "`x.y` is not a gRPC method"),
        (rule("grpc: [§{methods: [A]}]"), "`spec.rules[0].grpc[0].service` is missing"),
        (rule("peers: [§'spiffe://a/*/b']"), "`*` stands only as the whole last segment"),
        (rule("peers: [§'spiffe://a/b*']"), "`*` stands only as the whole last segment"),
        (rule("peers: [§'*']"), "`*` stands only as the whole last segment"),
        (rule("peers: [§'/*']"), "`*` stands only as the whole last segment"),
        (rule("peers: [§' a']"), "is not a peer"),
        (rule("peers: [§'ä']"), "is not a peer"),
        (
            rule("addresses: [§203.0.113.7/24]"),
            "has host bits set or is not in its shortest form: write `203.0.113.0/24`",
        ),
        (rule("addresses: [§'2001:DB8::/32']"), "write `2001:db8::/32`"),
        (rule("addresses: [§203.0.113.7]"), "`203.0.113.7` is not a network: write `203.0.113.7/32`"),
        (rule("addresses: [§'::1']"), "`::1` is not a network: write `::1/128`"),
        (rule("addresses: [§'::ffff:203.0.113.0/120']"), "is IPv4 inside IPv6: write `203.0.113.0/24`"),
        (rule("addresses: [§10.0.0.0/255.0.0.0]"), "is not a network: write one such as"),
        (rule("addresses: [§10.0.0.0/33]"), "is not a network: write one such as"),
        (rule("addresses: [§everywhere]"), "is not a network: write one such as"),
        (rule("addresses: [§010.0.0.0/8]"), "is not a network"),
        (rule("upgrade: [§h2c]"), "`h2c` is refused in every request: remove it"),
        (rule("upgrade: [§H2C]"), "`h2c` is refused in every request: remove it"),
        (rule("upgrade: [§WebSocket]"), "write `websocket`"),
        (rule("upgrade: [§'a b']"), "`a b` is not a protocol name"),
        (rule("when: §' '"), "an empty condition: write one, or remove the line"),
        (rule("when: §true"), "`spec.rules[0].when` must be a text, not a truth value: put it in quotes"),
        (rule(f"when: §'{'x' * 8193}'"), "longer than 8192 bytes"),
        (rule("limits: §[]"), "`spec.rules[0].limits` is empty"),
        (rule("when: §~"), "a value is missing: write one, or remove the line"),
        # limits
        (
            limit("rate: §100"),
            "`spec.rate` must be a text, not a number: write `100/s`, or with the unit `min`, `h` or `d`",
        ),
        (key(more=", limits: {per-key: {rate: §60}}"), "must be a text, not a number: write `60/s`, or"),
        (key(more=", labels: {rate: §60}"), "must be a text, not a number: put it in quotes"),
        (limit("rate: §-1"), "`spec.rate` must be a text, not a number: put it in quotes"),
        (limit("rate: §0/s"), "`spec.rate`: `0/s` is not a rate: write a whole number and a unit"),
        (limit("rate: §1.5/s"), "is not a rate"),
        (limit("rate: §10/sec"), "is not a rate"),
        (limit("rate: §1000000000/s"), "is not a rate"),
        (limit("rate: §١/s"), "is not a rate"),
        (limit("rate: 1/s, burst: §0"), "`spec.burst` is too small: at least 1"),
        (limit("rate: 1/s, burst: §1000000000"), "`spec.burst` is too large: at most 999999999"),
        (limit("rate: 1/s, burst: §1.0"), "`spec.burst` must be a whole number, not a fraction"),
        (limit("rate: 1/s, burst: §'5'"), "`spec.burst` must be a whole number, not a text"),
        (limit("rate: 1/s, burst: §true"), "`spec.burst` must be a whole number, not a truth value"),
        (limit("rate: 1/s, cost: §1"), "`spec.cost` must be a text, not a number: put it in quotes"),
        (
            limit("rate: 1/s, onStoreError: §open"),
            "`spec.onStoreError` cannot be `open`: write `local`, `allow`",
        ),
        (limit("rate: 1/s, mode: §off"), "`spec.mode` cannot be `off`: write `enforce` or `shadow`"),
        (limit("rate: 1/s, tiers: §[]"), "`spec.tiers` is empty"),
        (limit("rate: 1/s, tiers: [§{rate: 1/s}]"), "`spec.tiers[0].when` is missing"),
        (document("Limit", "x", "{per: §[], rate: 1/s}"), "`spec.per` is empty"),
        (document("Limit", "x", "{per: [§''], rate: 1/s}"), "`spec.per[0]`: an empty condition"),
        (document("Limit", "x", "{per: §[a, a], rate: 1/s}"), "`spec.per`: `a` stands twice"),
        # sites
        (site("path: {maxBytes: §0}"), "`spec.path.maxBytes` is too small: at least 1"),
        (site("path: {encodedSlash: §allow}"), "cannot be `allow`: write `refuse` or `keep`"),
        (site("methodOverride: §keep"), "cannot be `keep`: write `refuse` or `remove`"),
        (site("reasons: §none"), "cannot be `none`: write `coarse` or `full`"),
        (site("onDeny: §{}"), "`spec.onDeny` is empty"),
        (
            site("onDeny: {§teapot: {headers: {a: b}}}"),
            "`spec.onDeny.teapot`: `teapot` is not what a client is told: write one of `bad_request`, ",
        ),
        (site("onDeny: {default: {headers: {§A-b: c}}}"), "`spec.onDeny.default.headers.A-b`: `A-b` is not"),
        (site("onDeny: {default: {headers: {§connection: c}}}"), "is ours or the connection's to set"),
        (site("onDeny: {default: {headers: {§content-length: c}}}"), "is ours or the connection's to set"),
        (site("onDeny: {default: {headers: {§x_authz-reason: c}}}"), "is ours or the connection's to set"),
        (
            site('onDeny: {default: {headers: {a: §"b\\r\\nc: d"}}}'),
            "is not a header value: write visible ASCII",
        ),
        (site('onDeny: {default: {headers: {a: §"é"}}}'), "is not a header value: write visible ASCII"),
        (site("onDeny: {default: {headers: {a: §' b'}}}"), "is not a header value"),
        (site("onDeny: {default: {headers: {§':status': b}}}"), "`:status` is not a header name"),
        (
            site("onDeny: {default: {redirect: {to: §/login}}}"),
            "is not an absolute URL: write `https://host/path`",
        ),
        (site("onDeny: {default: {redirect: {to: §'ftp://a/'}}}"), "is not an absolute URL"),
        (site("onDeny: {default: {redirect: {to: §'https:///a'}}}"), "is not an absolute URL"),
        (site("onDeny: {default: {redirect: {to: §'https://u@a/'}}}"), "has no user name and no fragment"),
        (site("onDeny: {default: {redirect: {to: §'https://a/#b'}}}"), "has no user name and no fragment"),
        (site("onDeny: {default: {redirect: {to: §'https://a/ b'}}}"), "is not a URL: write visible ASCII"),
        (site("onDeny: {default: {redirect: {to: §'https://[a/'}}}"), "is not an absolute URL"),
        (site("onDeny: {default: {redirect: {to: 'https://a', returnTo: §'a b'}}}"), "`a b` is not a token"),
        # identity
        (provider("§[]"), "`spec.apiKey.in` is empty"),
        (
            provider("[{header: §X-Api-Key}]"),
            "`X-Api-Key` is not written as header names are compared: write `x-api-key`",
        ),
        (provider("[{header: §'x key'}]"), "is not a header name"),
        (provider("[{header: §cookie}]"), "write `{cookie: NAME}`"),
        (provider("[{header: §host}]"), "belongs to the connection or to Envoy"),
        (provider("[{header: §x-forwarded-for}]"), "belongs to the connection or to Envoy"),
        (provider("[{cookie: §'a=b'}]"), "`a=b` is not a token"),
        (provider("[{query: §''}]"), "`` is not a token"),
        (key(key_id="§short"), "`spec.id`: this is not a key id: it has 12 characters of `0-9A-Za-z`"),
        (key(key_id="§123456789012"), "`spec.id` must be a text, not a number: put it in quotes"),
        (
            key().replace(DIGEST, "§" + DIGEST[:-1]),
            "is not a digest: it has 43 characters of unpadded base64url",
        ),
        (key().replace(DIGEST, "§" + DIGEST[:-1] + "h"), "is not a digest"),
        (key().replace("e09102e2", "§E09102E2"), "is not a fingerprint: it has 8 characters of `0-9a-f`"),
        (key().replace("e09102e2", "§12345678"), "must be a text, not a number: put it in quotes"),
        (key().replace("version: 1", "version: §0"), "is too small: at least 1"),
        (
            key().replace("secrets: [", f"secrets: §[{SECRET}, {SECRET}, "),
            "`spec.secrets` has too many items: at most 2",
        ),
        (key(more=", expiresAt: §2027-01-01"), "is not a time: write one such as `2027-01-01T00:00:00Z`"),
        (key(more=", expiresAt: §2027-01-01T00:00:00"), "is not a time"),
        (key(more=", expiresAt: §2027-02-30T00:00:00Z"), "is no day of the calendar"),
        (key(more=", expiresAt: §0001-01-01T00:00:00+01:00"), "is no day of the calendar"),
        (key(more=", expiresAt: §1798761600"), "is not a time"),
        (key(more=", scopes: [§'a b']"), "is not a scope"),
        (key(more=", scopes: §[]"), "`spec.scopes` is empty"),
        (key(more=", labels: {§a b: c}"), "is not a label's name"),
        (key(more=', labels: {a: §"b\\nc"}'), "is not one line of at most 256 characters"),
        (key(more=", enabled: §yes"), "`spec.enabled` must be `true` or `false`, not a text"),
        (key(more=", limits: {per-key: §{burst: 1}}"), "`spec.limits.per-key.rate` is missing"),
        (key(more=", limits: {§Per_key: {rate: 1/s}}"), "`Per_key` is not a name"),
    ],
)
def test_a_field_refuses_what_it_cannot_hold_at_its_place(text: str, fault: str) -> None:
    assert text.count("§") == 1
    found = faults(text.replace("§", ""))
    assert any(one.startswith(f"{place_of_mark(text)}: ") and fault in one for one in found), found


def test_a_token_in_the_wrong_place_is_repeated_nowhere() -> None:
    token = "ak_live_k7Qm2VxP0aZs_" + "S" * 49
    wrong = [key(key_id=token), key().replace(DIGEST, token), key().replace("e09102e2", token)]
    for text in wrong:
        assert faults(text)
        assert "SSSS" not in "\n".join(faults(text))


@pytest.mark.parametrize(
    "header",
    [
        "host",
        "content-length",
        "connection",
        "te",
        "transfer-encoding",
        "x-envoy-retry-on",
        "x-forwarded-for",
        "x_forwarded_for",
        "content.length",
        "keep-alive",
        "upgrade",
    ],
)
def test_a_policy_may_not_set_headers_of_the_connection_or_of_envoy(header: str) -> None:
    text = document(
        "Policy",
        "p",
        f"{{onAllow: {{headers: {{{header}: '\"x\"'}}}}, hosts: [a], rules: [{{name: r, {ALLOW}}}]}}",
    )
    (found,) = told(text)
    assert (
        found
        == f"`spec.onAllow.headers.{header}`: a policy may not set `{header}`: choose a name of your own"
    )


def test_a_policy_may_not_set_pseudo_headers_or_upper_case_names() -> None:
    for name, words in (
        (":path", "pseudo headers"),
        ("X-Key", "write `x-key`"),
        ("a b", "not a header name"),
    ):
        headers = f"{{headers: {{'{name}': x}}}}"
        (found,) = told(
            document("Policy", "p", f"{{onAllow: {headers}, hosts: [a], rules: [{{name: r, {ALLOW}}}]}}")
        )
        assert words in found


def test_times_are_kept_in_utc() -> None:
    found = (
        loaded(PROVIDER, PER_KEY, key(more=", expiresAt: 2027-01-01T02:00:00.5+02:00"))
        .keys[0]
        .spec.expires_at
    )
    assert str(found) == "2027-01-01 00:00:00.500000+00:00"


def test_what_a_fault_shows_of_a_wrong_text_is_one_short_line() -> None:
    (found,) = told(rule('paths: ["' + "x" * 300 + '\\n\\e[31m"]'))
    assert "\n" not in found
    assert "\x1b" not in found
    assert "`spec" in found


def test_a_site_may_speak_about_every_told_reason() -> None:
    entries = ", ".join(f"{told}: {{headers: {{a: b}}}}" for told in (*Coarse, "default"))
    assert faults(site(f"onDeny: {{{entries}}}")) == []


def test_the_published_schema_is_the_one_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(), "run `make schema`"


def test_the_schema_describes_every_kind_and_every_field() -> None:
    schema = json_schema()
    assert len(schema["oneOf"]) == len(KINDS)
    for name, model in schema["$defs"].items():
        if "properties" not in model:
            continue
        assert model["description"], name
        assert model["additionalProperties"] is False, name
        for field, told_of in model["properties"].items():
            assert field in ("kind", "metadata", "spec") or _description(told_of), f"{name}.{field}"
            assert "anyOf" not in told_of, f"{name}.{field}: an empty value is an error"


def _description(field: dict[str, str]) -> str | None:
    reference = field.get("$ref", "").rsplit("/", 1)[-1]
    return field.get("description") or json_schema()["$defs"].get(reference, {}).get("description")

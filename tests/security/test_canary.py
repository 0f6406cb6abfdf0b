"""Secrets are put into every input of a process that serves, and every byte that comes out is searched.

The records may hold what the operator asked for and what the contract names (method, host, path); so what is
put into paths and request ids is of the form of a token, which is masked wherever it stands.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from urllib.parse import quote

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2

from authz.identity.apikey import digest, encode_digest, fingerprint
from authz.proxy.process import Child, Plan, free_port, http_get
from authz.proxy.stage import short_directory
from tests.support.canary import Leak, leaks, secret_of, token, word
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.policies import PROVIDER, MadeKey, documents
from tests.support.proxy import live

ROOT = Path(__file__).parents[2]
POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com, login.example.com]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: keyed, effect: allow, paths: ["/**"], identity: [partner-keys], limits: [per-key]}
    - {name: odd, effect: deny, when: 'request.headers["x-missing"] == "a" && request.url_path == "/odd"'}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/h}
---
kind: Site
metadata: {name: login}
spec:
  hosts: [login.example.com]
  reasons: full
  onDeny: {unauthenticated: {redirect: {to: "https://id.example.com/", returnTo: next}}}
"""


@dataclass(frozen=True)
class Canaries:
    """One secret for each kind of input."""

    pepper: str = field(default_factory=lambda: word("pepper"))
    previous_pepper: str = field(default_factory=lambda: word("previous"))
    database: str = field(default_factory=lambda: word("database"))
    header: str = field(default_factory=lambda: word("header"))
    name: str = field(default_factory=lambda: word("name").lower())
    cookie: str = field(default_factory=lambda: word("cookie"))
    basic: str = field(default_factory=lambda: word("basic"))
    bearer: str = field(default_factory=lambda: word("bearer"))
    query: str = field(default_factory=lambda: word("query"))
    body: str = field(default_factory=lambda: word("body"))
    context: str = field(default_factory=lambda: word("context"))
    userinfo: str = field(default_factory=lambda: word("userinfo"))
    unknown: str = field(default_factory=token)
    good: MadeKey = field(default_factory=lambda: MadeKey("good"))

    def secrets(self) -> dict[str, str]:
        """Return what must be found nowhere."""
        plain = {name: value for name, value in vars(self).items() if isinstance(value, str)}
        return plain | {
            "unknown's secret": secret_of(self.unknown),
            "good": self.good.token,
            "good's secret": secret_of(self.good.token),
        }


def _key_document(canaries: Canaries) -> str:
    """Write the good key anew, under the pepper of this test."""
    secret, pepper = secret_of(canaries.good.token), canaries.pepper.encode()
    raw = encode_digest(digest(pepper, canaries.good.id, 1, secret))
    return (
        f"kind: ApiKey\nmetadata: {{name: good}}\nspec:\n  id: {canaries.good.id}\n  provider: partner-keys\n"
        f"  customer: acme\n  secrets: [{{version: 1, pepper: {fingerprint(pepper)!r}, digest: {raw}}}]\n"
    )


# --- inputs


def headers(c: Canaries, key: str) -> Iterator[list[tuple[str, str | bytes]]]:
    """Yield headers with a secret in each place where one may stand, well-formed and not."""
    encoded = "".join(f"%{byte:02x}" for byte in key.encode())
    yield [("x-api-key", key)]
    yield [("x-api-key", f" {key}"), ("x-api-key", key)]
    yield [("x-api-key", f'"{key}"')]
    yield [("x-api-key", encoded)]
    yield [("x-api-key", key.encode() + b"\xff\xfe")]
    yield [("x-api-key", key.encode() + b"\x00\r\n")]
    yield [("authorization", f"Bearer {key}")]
    yield [("authorization", f"bearer  {key}")]
    yield [("authorization", key)]
    yield [("authorization", f"Bearer {c.bearer}")]
    yield [("authorization", "Basic " + base64.b64encode(f"me:{c.basic}".encode()).decode())]
    yield [("proxy-authorization", f"Bearer {c.bearer}")]
    yield [("cookie", f"session={key}; other={c.cookie}")]
    yield [("cookie", f"other={c.cookie} session={key}")]
    yield [("cookie", f"session={c.cookie}"), ("cookie", f"session={key}")]
    yield [(c.name, "1"), (f"x-{c.name}", key)]
    yield [(f"{c.name} bad\n", "1")]
    yield [("x-custom", c.header), ("user-agent", f"curl {key}"), ("referer", f"http://a/?q={c.query}")]
    yield [("x-request-id", key), ("traceparent", f"00-{key}-00")]
    yield [("x-forwarded-for", f"{c.header}, 10.0.0.1"), ("x-http-method-override", c.header)]
    yield [("upgrade", f"h2c, {c.header}"), ("http2-settings", c.header)]
    yield [("x-authz-reason", c.header), ("x-authz-decision-id", key), ("content-type", f"x/{c.header}")]
    yield [("accept", "text/html"), ("x-api-key", key)]
    yield [(":path", f"/other?{c.query}"), (":authority", f"me:{c.userinfo}@items.example.com")]


def paths(c: Canaries, key: str) -> Iterator[str]:
    """Yield paths and queries with secrets in them."""
    encoded = "".join(f"%{byte:02x}" for byte in key.encode())
    yield from (
        "/",
        "/open",
        "/odd",
        f"/{key}",
        f"/{key}/..;/x",
        f"//{key}",
        f"/{encoded}",
        f"/x%2f{encoded}",
    )
    yield from (
        f"/{quote(encoded)}",
        f"/{quote(quote(encoded))}",
        f"/{key.replace('_', '%5F')}",
        f"/a%00{key}",
    )
    yield from (f"/a?api_key={key}", f"/a?api%5Fkey={encoded}&api_key={c.query}", f"/a?{c.query}={key}")
    yield from (
        f"/a?x={c.query}#{c.query}",
        f"/a#{c.query}",
        f"/%3f{c.query}",
        f"http://me:{c.userinfo}@a/{key}",
    )
    yield from (
        f"/{key[3:]}",
        f"/x_{secret_of(key)}",
        f"/{key}é",
        f"/{'a' * 1100}{key}",
        f"/{'a' * 9000}?{key}",
    )


def checks(c: Canaries) -> Iterator[bytes]:
    """Yield calls with secrets everywhere."""
    for key in (
        c.unknown,
        c.good.token,
        c.good.token[:-1],
        c.unknown + "x",
        c.unknown.replace("live", "test"),
    ):
        for sent in headers(c, key):
            for host in ("items.example.com", "login.example.com"):
                yield check_request(host=host, path="/closed", headers=sent, raw_body=c.body.encode())
            yield check_request(host="items.example.com", path="/open", headers=sent, mode="map", body=c.body)
        for path in paths(c, key):
            html = [("accept", "text/html"), ("x-api-key", key)]
            yield check_request(host="items.example.com", path=path)
            yield check_request(host="login.example.com", path=path, headers=html)
    for host in (f"me:{c.userinfo}@items.example.com", f"{c.unknown}.example.com", c.unknown, f"a?{c.query}"):
        yield check_request(host=host, path="/")
    for method in (c.unknown.upper(), f"GET /?{c.query}", f"get {c.unknown}"):
        yield check_request(method=method, host="items.example.com", path="/")
    whole = check_request(
        host="items.example.com",
        path=f"/?{c.query}",
        query=c.query,
        fragment=c.query,
        headers=[("x-api-key", c.unknown)],
        context={"secret": c.context, c.context: "x"},
        scheme=c.header,
        protocol=f"HTTP/1.1?{c.query}",
        stream_id=c.unknown,
        peer=c.header,
    )
    yield from (
        whole,
        whole[:-20],
        whole[5:],
        c.header.encode(),
        b"\xff" + c.unknown.encode(),
        whole + b"\xff",
    )


# --- a process, and everything that comes out of it


class Serving:
    """A process that serves, and every byte that it lets out."""

    def __init__(self, child: Child, directory: Path, ops: int, listen: str) -> None:
        self.child, self.directory, self.ops, self.listen = child, directory, ops, listen
        self.outputs: dict[str, bytes] = {}
        self.decision_ids: list[str] = []

    def send(self, payloads: Iterator[bytes]) -> None:
        """Ask, and keep what a client would see of refusals; an allow speaks to the upstream alone."""
        told = []
        with client(self.listen) as ask:
            for payload in payloads:
                answer = read(ask(payload, timeout=10))
                self._note(answer)
                if answer.status.code:
                    told.append(_without_location(answer).SerializeToString())
            for method in ("Check", "Other"):
                told.append(_odd_calls(self.listen, method))
        self.outputs["answers"] = b"\n".join(told)

    def _note(self, answer: external_auth_pb2.CheckResponse) -> None:
        for option in answer.denied_response.headers:
            if option.header.key == "x-authz-decision-id":
                self.decision_ids.append(option.header.value)

    def ask_operations(self, canaries: Mapping[str, str]) -> None:
        """Ask the operators' doors, with secrets in what is asked."""
        told = []
        for path in ("/health", "/ready", "/metrics", *(f"/{text}?{text}" for text in canaries.values())):
            reply = http_get(self.ops, path)
            assert reply is not None
            told.append(str(reply))
        for path in (*self.decision_ids, *canaries.values(), "%00", "../x"):
            told.append(debug_get(self.directory / "d.sock", f"/logs/{path}"))
        told.append(debug_get(self.directory / "d.sock", "/limits"))
        assert '"per-key"' in told[-1]
        assert any('"decision_id"' in text for text in told)
        self.outputs["operations"] = "\n".join(told).encode()

    def end(self) -> dict[str, bytes]:
        """Stop it, and return everything."""
        self.child.stop()
        for name in ("records", "log", "records.jsonl"):
            path = self.directory / name
            self.outputs[name] = path.read_bytes() if path.exists() else b""
        self.outputs["kept set"] = b"".join(path.read_bytes() for path in self.directory.glob("state/*"))
        return self.outputs


def _without_location(answer: external_auth_pb2.CheckResponse) -> external_auth_pb2.CheckResponse:
    """Leave out where a redirect leads: by the contract it carries on path and query as they were sent."""
    kept = [option for option in answer.denied_response.headers if option.header.key != "location"]
    del answer.denied_response.headers[:]
    answer.denied_response.headers.extend(kept)
    return answer


def _odd_calls(listen: str, method: str) -> bytes:
    """Call as nobody should, and return what is told of it."""
    with grpc.insecure_channel(listen) as channel:
        path = f"/envoy.service.auth.v3.Authorization/{method}"
        call = channel.unary_unary(path, request_serializer=None, response_deserializer=None)
        try:
            return bytes(call(b"", timeout=5, metadata=[("x-note", "1")]))
        except grpc.RpcError as error:
            return str(error.details()).encode()


def debug_get(path: Path, target: str) -> str:
    connection = HTTPConnection("localhost", timeout=5)
    connection.sock = socket(AF_UNIX, SOCK_STREAM)
    connection.sock.connect(str(path))
    try:
        connection.request("GET", quote(target))
        reply = connection.getresponse()
        return f"{reply.status} {reply.getheaders()} {reply.read().decode()}"
    finally:
        connection.close()


@contextmanager
def serving(c: Canaries, environ: Mapping[str, str], *, sabotaged: bool = False) -> Iterator[Serving]:
    """Start `authz serve` with secrets in its environment, writing all that it can."""
    with ExitStack() as stack:
        directory = short_directory()
        (directory / "policies").mkdir()
        for name, content in documents(PROVIDER, POLICY, _key_document(c)).items():
            (directory / "policies" / name).write_bytes(content)
        ops, listen = free_port(), f"unix:{directory}/a.sock"
        words = ["serve", "--policies", f"{directory}/policies", "--listen", listen]
        words += ["--ops", f"127.0.0.1:{ops}", "--debug", f"unix:{directory}/d.sock"]
        words += ["--state", f"{directory}/state"]
        start = (
            [sys.executable, "-m", "tests.security.sabotaged"]
            if sabotaged
            else [str(Path(sys.executable).with_name("authz"))]
        )
        env = {
            "API_KEY_SALT": c.pepper,
            "API_KEY_SALT_PREVIOUS": c.previous_pepper,
            "DATABASE_URL": f"postgresql://me:{c.database}@db/authz",
            "LOG_LEVEL": "debug",
            "AUTHZ_RECORD_HEADERS": "user-agent,referer,accept",
            "AUTHZ_CONTEXT": "secret",
            "PYTHONPATH": str(ROOT),
            **environ,
        }
        plan = Plan("the sidecar", [*start, *words], directory / "log", directory / "records", env)
        child = stack.enter_context(Child(plan))
        child.wait_until(lambda: (http_get(ops, "/ready") or (0, ""))[0] == 200)
        yield Serving(child, directory, ops, listen)
        child.stop()
        _remove(directory)


def _remove(directory: Path) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    directory.rmdir()


def told(found: list[Leak]) -> str:
    """Say what leaked where, for people."""
    return "\n".join(f"{leak.canary} ({leak.form}) in {leak.where}: {leak.around!r}" for leak in found)


def assert_silent(c: Canaries, outputs: Mapping[str, bytes]) -> None:
    """Fail, and say where, if any secret is in any output."""
    found = leaks(c.secrets(), outputs)
    assert not found, told(found)


@pytest.mark.parametrize(("sink", "transport"), [("stdout", "native"), ("file", "grpcio")])
def test_no_secret_of_any_input_is_in_any_output(sink: str, transport: str) -> None:
    c = Canaries()
    with _directory() as where:
        sunk = {"AUTHZ_RECORD_SINK": f"file:{where}/records.jsonl"} if sink == "file" else {}
        sunk["AUTHZ_TRANSPORT"] = transport
        with serving(c, sunk) as made:
            made.send(checks(c))
            made.ask_operations(c.secrets())
            outputs = made.end()
        if sink == "file":
            outputs["records"] = (where / "records.jsonl").read_bytes()
    lines = [json.loads(line) for line in outputs["records"].splitlines()]
    assert len(lines) > 500
    assert {line["reason"] for line in lines} >= {
        "allowed", "bad_request", "credential_invalid", "credential_ambiguous", "credential_missing",
        "rate_limited", "rule_error",
    }  # fmt: skip
    assert c.good.id.encode() in outputs["kept set"]
    assert c.good.id.encode() in outputs["records"]  # ids are public, and who asked must be known
    assert_silent(c, outputs)


def test_a_redirect_carries_no_parameter_that_holds_a_credential() -> None:
    c = Canaries()
    html = [("accept", "text/html"), ("x-api-key", c.unknown), ("cookie", f"session={c.cookie}")]
    with serving(c, {}) as made, client(made.listen) as ask:
        for query in (f"x=y&api_key={c.unknown}", f"api%5Fkey={c.unknown}&x=y&%61pi_key={c.query}"):
            payload = check_request(host="login.example.com", path=f"/a?{query}", headers=html)
            answer = read(ask(payload, timeout=10))
            told = {option.header.key: option.header.value for option in answer.denied_response.headers}
            assert "x%3Dy" in told["location"]
            assert_silent(c, {"location": told["location"].encode()})


@contextmanager
def _directory() -> Iterator[Path]:
    path = short_directory()
    yield path
    _remove(path)


def test_a_crash_gives_nothing_away() -> None:
    c = Canaries()
    sent = [("x-api-key", c.unknown), ("cookie", f"a={c.cookie}"), ("x", c.header)]
    with serving(c, {}, sabotaged=True) as made:
        payloads = [
            check_request(
                host="items.example.com",
                path=f"/open?{c.query}",
                headers=[("x-break", room), *sent],
                raw_body=c.body.encode(),
            )
            for room in ("policy", "identity", "removal", "record", "")
        ]
        made.send(iter(payloads))
        log = made.end()["log"]
    assert b"a check crashed and was refused" in log
    assert b'"unlogged"' in log
    assert_silent(c, made.outputs)


def test_envoy_and_its_logs_give_nothing_away() -> None:
    c = Canaries()
    environ = {"LOG_LEVEL": "debug", "DATABASE_URL": f"postgresql://me:{c.database}@db/authz"}
    with live(env=environ) as app:
        replies = []
        for sent in headers(c, c.unknown):
            texts = [(name, value) for name, value in sent if isinstance(value, str) and name[0] != ":"]
            if any(set(name + value) & set("\r\n\0 ") - {" "} or " " in name for name, value in texts):
                continue
            replies.append(app.send("GET", f"/keyed?x={c.query}", *texts, body=c.body.encode())[0])
            replies.append(app.send2("GET", f"/keyed?x={c.query}", *texts)[0])
        for path in paths(c, c.unknown):
            if path.isascii() and "http" not in path:
                replies.append(app.send("GET", path)[0])
        metrics = http_get(app.stage.ops_port, "/metrics")
        app.stage.sidecar.stop()
        app.stage.envoy.stop()
        outputs = {
            "replies": "\n".join(map(str, replies)).encode(),
            "metrics": str(metrics).encode(),
            "records": app.stage.records.read_bytes(),
            "log": app.stage.sidecar.plan.log.read_bytes(),
            "envoy's log": app.stage.envoy.plan.log.read_bytes(),
        }
    assert outputs["records"].count(b"\n") > 30
    assert_silent(c, outputs)


def test_the_search_finds_a_secret_in_every_form() -> None:
    secret = word("canary")
    for shown in (
        secret,
        secret.upper(),
        secret.encode().hex().upper(),
        "".join(f"%{byte:02X}" for byte in secret.encode()),
        *(base64.b64encode(b"x" * pad + secret.encode() + b"tail").decode() for pad in range(5)),
        base64.urlsafe_b64encode(json.dumps({"a": secret}).encode()).decode(),
        "".join(f"\\u{ord(each):04x}" for each in secret),
    ):
        assert leaks({"it": secret}, {"out": f"before {shown} after".encode()}), shown
    assert not leaks({"it": secret}, {"out": os.urandom(4096)})

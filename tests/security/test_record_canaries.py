"""One sidecar writes records to every sink at once, traces and chains them; secrets and filth in every input.

Every byte that comes out anywhere is searched: for secrets, for names that stand as pseudonyms, and for
whatever a client wrote that could be more than one line of plain text.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from authz.config import settings
from authz.model.errors import AuthzError
from authz.proxy.process import http_get
from authz.proxy.stage import short_directory
from authz.record.chain import read_public_key
from authz.record.pseudonym import pseudonym
from authz.wiring.supported import require_supported
from tests.security.test_canary import Canaries, Serving, checks, debug_get, headers, serving, told
from tests.support.canary import leaks, word
from tests.support.chains import look
from tests.support.checks import check_request
from tests.support.collector import Collector, collector
from tests.support.command import run
from tests.support.kafka import PASSWORD, USER, KafkaServer
from tests.support.otlp_receiver import Receiver, otlp_receiver
from tests.support.processes import children
from tests.support.redis import RedisServer, redis_server

CLIENT = "198.51.100.77"
LINE_MAX = 16 * 1024  # a record of a hostile request is no longer than a few honest ones
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MIB = "M" * 1024 * 1024
FILTH = (
    '\n{"v":1,"kind":"gap"}\n',
    "\r\n\r\n",
    "\x1b]0;owned\x07\x1b[2J\x1b[31m",
    "\u2028\u2029\x85\x0b\x0c",
    "\x7f\x9b2J",
    "\x00",
    "\u202egnp.exe",
    "\ufeff",
    "é😀\U000e0041",
    '"}],"prev":"x"',
    '\\"\\n\\u000a',
    "%0a%1b%5b2J",
    "`$(id)`;--",
    "<script>",
    MIB,
)


@dataclass(frozen=True)
class Secrets(Canaries):
    """Those of requests, and one for each setting that is secret."""

    http: str = field(default_factory=lambda: word("http"))
    sink: str = field(default_factory=lambda: word("sink"))
    limits_password: str = field(default_factory=lambda: word("limits"))
    records_password: str = field(default_factory=lambda: word("records"))
    pseudonym_key: str = field(default_factory=lambda: word("pseudonym"))


def filth() -> Iterator[bytes]:
    """Yield calls with what terminals, parsers and log collectors stumble over wherever clients may write."""
    for text in FILTH:
        ascii_text = text.encode("utf-8", "surrogatepass").decode("latin-1")
        for host in ("items.example.com", f"items.example.com{text}"):
            yield check_request(host=host, path=f"/open/{text}", peer=CLIENT)
        yield check_request(host="items.example.com", path=f"/open/{quote(text)}", peer=CLIENT)
        yield check_request(method=f"GET{text}", host="items.example.com", path="/open", peer=CLIENT)
        yield check_request(host="items.example.com", path="/open", protocol=f"HTTP/1.1{text}", peer=CLIENT)
        for name in ("x-request-id", "user-agent", "referer", "traceparent", "x-forwarded-for", "accept"):
            for mode in ("raw", "map"):
                sent = [(name, ascii_text if mode == "raw" else text)]
                yield check_request(
                    host="items.example.com", path="/open", headers=sent, mode=mode, peer=CLIENT
                )
    yield check_request(
        host="items.example.com", path="/open", principal=f"spiffe://{FILTH[0]}", peer=FILTH[0]
    )


def traced(c: Secrets) -> Iterator[bytes]:
    """Yield calls that are traced, with a secret in each place where one may stand."""
    for key in (c.unknown, c.good.token):
        for sent in headers(c, key):
            pairs = [pair for pair in sent if pair[0] != "traceparent"] + [("traceparent", PARENT)]
            for path in ("/open", f"/{key}?{c.query}"):
                yield check_request(host="items.example.com", path=path, headers=pairs, peer=CLIENT)


class Everything:
    """A sidecar that runs with all of it, and what came out."""

    def __init__(self, stack: ExitStack, kafka: KafkaServer | None) -> None:
        self.secrets = Secrets()
        self.kafka, self.topic = kafka, kafka.create_topic() if kafka else ""
        self.http: Collector = stack.enter_context(collector())
        self.otlp: Receiver = stack.enter_context(otlp_receiver())
        self.redis: RedisServer = stack.enter_context(redis_server())
        self.where = stack.enter_context(_directory())
        (self.where / "spool").mkdir(mode=0o700)
        self.sent = 0
        self.outputs: dict[str, bytes] = {}
        self.lines: dict[str, list[bytes]] = {}  # by sink
        self.public = self._keys()
        self._run()

    def _keys(self) -> Path:
        private, public = self.where / "chain.pem", self.where / "chain.pub.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
        self.chain_key = "".join(private.read_text(encoding="ascii").splitlines()[1:-1])
        return public

    def canaries(self) -> dict[str, str]:
        """Return what must be found nowhere."""
        raw = base64.b64decode(self.chain_key)[-32:]
        chain = {"chain key": self.chain_key, "chain key in hex": raw.hex(), "kafka": PASSWORD}
        return self.secrets.secrets() | chain

    def environ(self) -> dict[str, str]:
        """Return the settings."""
        c = self.secrets
        for user, password in (("limits", c.limits_password), ("records", c.records_password)):
            self.redis.ask("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
        sinks = [
            f"file:{self.where}/records.jsonl", f"{self.http.url}?v=1&key={c.sink}", self.otlp.grpc_url, f"http://127.0.0.1:9/nobody?token={c.sink}",
            f"redis://127.0.0.1:{self.redis.port}/0/records",
        ]  # fmt: skip
        if self.kafka:
            sinks.append(f"kafka+tls://{self.kafka.bootstrap_scram}/{self.topic}")
        return {
            "REDIS_URL": f"redis://limits:{c.limits_password}@127.0.0.1:{self.redis.port}/0",
            "AUTHZ_RECORD_SINK": ",".join(sinks),
            "AUTHZ_RECORD_SPOOL": f"{self.where}/spool",
            "AUTHZ_RECORD_HTTP_TOKEN": c.http,
            "AUTHZ_RECORD_REDIS_USER": "records",
            "AUTHZ_RECORD_REDIS_PASSWORD": c.records_password,
            "AUTHZ_RECORD_KAFKA_USER": USER,
            "AUTHZ_RECORD_KAFKA_PASSWORD": PASSWORD,
            "AUTHZ_RECORD_PSEUDONYMS": "subject,key_id,customer,client_address",
            "AUTHZ_RECORD_PSEUDONYM_KEY": c.pseudonym_key,
            "AUTHZ_RECORD_CHAIN_KEY": f"{self.where}/chain.pem",
            "AUTHZ_TRACE_SINK": self.otlp.http_url,
            "AUTHZ_RECORD_DRAIN_S": "3",  # one sink is never there
            **({"AUTHZ_RECORD_CA": str(self.kafka.ca)} if self.kafka else {}),
        }

    def _run(self) -> None:
        with serving(self.secrets, self.environ()) as made:
            for payloads in (checks(self.secrets), filth(), traced(self.secrets)):
                made.send(self._counted(payloads))
            self._watch(made)
            self.outputs |= made.end()
        self._gather()
        self._commands()

    def _watch(self, made: Serving) -> None:
        """Take what can be seen only while it runs, once every sink has everything."""
        records = self._settled(made)
        self.outputs["metrics"] = str(http_get(made.ops, "/metrics")).encode()
        self.outputs["metrics, with exemplars"] = _open_metrics(made.ops)
        self.outputs["ready"] = str(http_get(made.ops, "/ready")).encode()
        self.outputs["spool"] = b"".join(path.read_bytes() for path in self._spooled())
        assert self.outputs["spool"].count(b'"outcome"') >= records
        # The last ones, recent enough to be remembered.
        asked = [debug_get(made.directory / "d.sock", f"/logs/{one}") for one in made.decision_ids[-50:]]
        assert sum(one.startswith("200 ") for one in asked) > 40
        self.outputs["/logs"] = "".join(asked).encode()
        self.processes = list(_processes(made.child.pid))
        self.outputs["command lines"] = b"\n".join(words for words, _ in self.processes)
        (self.shipper,) = (environ for words, environ in self.processes if b"authz.shipping.main" in words)

    def _counted(self, payloads: Iterator[bytes]) -> Iterator[bytes]:
        for payload in payloads:
            self.sent += 1
            yield payload

    def _settled(self, made: Serving) -> int:
        """Wait until the sinks that answer have every record; return how many those are."""
        end = time.monotonic() + 60
        while True:
            arrived = [
                (self.where / "records.jsonl").read_bytes().count(b'"outcome"'),
                sum(b'"outcome"' in line for line in self.http.lines()),
                sum('"outcome"' in record.body.string_value for record in self.otlp.log_records()),
                int(self.redis.ask("XLEN", "records")),
            ]
            if min(arrived) >= self.sent and not any(self._lags(made)):
                return self.sent
            assert time.monotonic() < end, arrived
            time.sleep(0.2)

    def _lags(self, made: Serving) -> Iterator[float]:
        """Yield how far each sink is behind, but for the one that is never there."""
        _, page = http_get(made.ops, "/metrics") or (0, b"")
        for line in page.decode().splitlines():
            if line.startswith("authz_record_lag_bytes{") and '"http-2"' not in line:
                yield float(line.rpartition(" ")[2])

    def _spooled(self) -> Iterator[Path]:
        return (path for path in sorted((self.where / "spool").rglob("*")) if path.is_file())

    def _gather(self) -> None:
        self.lines["file"] = (self.where / "records.jsonl").read_bytes().splitlines()
        self.lines["http"] = self.http.lines()
        self.lines["otlp"] = [record.body.string_value.encode() for record in self.otlp.log_records()]
        entries = self.redis.ask("XRANGE", "records", "-", "+")
        self.lines["redis"] = [fields[b"record"] for _, fields in entries]
        self.outputs["redis"] = repr(entries).encode()
        self.outputs["otlp"] = b"".join(
            one.message.SerializeToString() + _open(one.metadata) for one in self.otlp.requests()
        )
        self.outputs["http"] = b"".join(_open(one.headers) + one.lines for one in self.http.posted)
        if self.kafka:
            messages = self.kafka.read_all(self.topic)
            self.lines["kafka"] = [line for one in messages for line in one.value.split(b"\n") if line]
            self.outputs["kafka"] = b"".join(
                one.key + one.value + repr(one.headers).encode() for one in messages
            )
        self.outputs |= {f"lines of {sink}": b"\n".join(lines) for sink, lines in self.lines.items()}

    def _commands(self) -> None:
        file = str(self.where / "records.jsonl")
        commands = {
            "search": ("search", file, "--limit", "0"),
            "search, as JSON": ("search", file, "--output", "json", "--limit", "0"),
            "verify": ("verify", file, "--key", str(self.public)),
        }
        for name, words in commands.items():
            done = run("logs", *words, LOG_LEVEL="debug")
            self.outputs[f"authz logs {name}"] = (done.stdout + done.stderr).encode()


@contextmanager
def _directory() -> Iterator[Path]:
    path = short_directory()
    yield path
    shutil.rmtree(path)


def _open(sent: Mapping[str, str]) -> bytes:
    """Return what was sent, but for where the credential belongs."""
    return repr({name: value for name, value in sent.items() if name != "authorization"}).encode()


def _open_metrics(port: int) -> bytes:
    asked = Request(f"http://127.0.0.1:{port}/metrics", headers={"accept": "application/openmetrics-text"})
    with urlopen(asked, timeout=5) as reply:
        page = bytes(reply.read())
    assert b"# {" in page  # an exemplar: the trace is the client's to name
    return page


def _processes(pid: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield command line and environment of a process and its descendants."""
    yield Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes()
    for child in children(pid):
        yield from _processes(child)


@pytest.fixture(scope="module")
def everything(request: pytest.FixtureRequest) -> Iterator[Everything]:
    """Run all of it once; without Kafka where there is none."""
    try:
        kafka = request.getfixturevalue("kafka_server")
    except pytest.skip.Exception:
        kafka = None
    with ExitStack() as stack:
        yield Everything(stack, kafka)


def test_no_secret_is_in_any_output(everything: Everything) -> None:
    outputs = dict(everything.outputs)
    assert {"file", "http", "otlp", "redis"} <= set(everything.lines)
    assert outputs["spool"].count(b'"outcome"') > 800
    assert b'"a sink takes no records"' in outputs["log"]  # the shipper speaks there, too
    assert_silent(everything, outputs)


def assert_silent(everything: Everything, outputs: Mapping[str, bytes]) -> None:
    """Fail where a secret is in an output."""
    found = leaks(everything.canaries(), outputs)
    assert not found, told(found)


def test_the_process_that_ships_has_no_secret_in_its_environment(everything: Everything) -> None:
    assert b"PATH=" in everything.shipper
    assert b"AUTHZ_" not in everything.shipper
    assert b"API_KEY_SALT" not in everything.shipper
    assert_silent(everything, {"environment": everything.shipper})


def test_every_sink_has_the_same_lines(everything: Everything) -> None:
    file = everything.lines["file"]
    assert len(file) > 800
    for sink, lines in everything.lines.items():
        assert list(dict.fromkeys(lines)) == file, sink


def test_the_chain_is_whole_at_every_sink(everything: Everything) -> None:
    key = read_public_key(everything.public)
    for sink, lines in everything.lines.items():
        report = look(lines, [key])
        assert report.sound, (sink, report.findings)
        assert all(stream.ended for stream in report.streams), sink
    assert b"whole" in everything.outputs["authz logs verify"]


def test_names_stand_as_pseudonyms_at_every_sink_and_in_every_span(everything: Everything) -> None:
    c = everything.secrets
    key = c.pseudonym_key.encode()
    hidden = {"customer": "acme", "key_id": c.good.id, "client_address": CLIENT}
    outputs = {
        where: output
        for where, output in everything.outputs.items()
        if where not in ("answers", "log", "kept set", "command lines")
    }
    found = leaks({name: text for name, text in hidden.items() if name != "customer"}, outputs)
    assert not found, told(found)
    for sink, lines in everything.lines.items():
        everywhere = b"\n".join(lines)
        assert b'"acme"' not in everywhere
        for name, text in hidden.items():
            assert f'"{name}":"{pseudonym(key, name, text)}"'.encode() in everywhere, (sink, name)
    spans = b"".join(span.SerializeToString() for span in everything.otlp.spans())
    assert b"acme" not in spans
    assert len(everything.otlp.spans()) > 50


def test_whoever_has_the_key_finds_a_customer(everything: Everything) -> None:
    words = (
        "logs",
        "search",
        str(everything.where / "records.jsonl"),
        "--customer",
        "acme",
        "--output",
        "json",
    )
    key = everything.secrets.pseudonym_key
    found = run(*words, AUTHZ_RECORD_PSEUDONYM_KEY=key).stdout
    assert found.count('"allowed"') >= 1
    assert "acme" not in found
    assert '"outcome"' not in run(*words).stdout


def test_whatever_a_client_writes_is_one_line_of_plain_text_at_every_sink(everything: Everything) -> None:
    for sink, lines in everything.lines.items():
        cut = 0
        for line in lines:
            assert len(line) <= LINE_MAX, (sink, line[:200])
            assert all(0x20 <= byte <= 0x7E for byte in line), (sink, line)
            assert isinstance(json.loads(line), dict), sink
            cut += b"characters]" in line
        assert cut > 5, sink


def test_no_log_and_no_list_moves_a_terminal(everything: Everything) -> None:
    for where in (
        "log",
        "metrics",
        "metrics, with exemplars",
        "ready",
        "/logs",
        "authz logs search",
        "authz logs verify",
    ):
        text = everything.outputs[where].decode()
        odd = [
            line
            for line in text.splitlines()
            if any(not each.isprintable() for each in line.replace("\t", ""))
        ]
        assert not odd, (where, odd[:3])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTHZ_RECORD_PSEUDONYM_KEY", "SHORT"),
        ("API_KEY_SALT", "SHORT"),
        ("REDIS_URL", "redis://me:SECRET@[::1/0"),
        ("REDIS_URL", "redis://me:SECRET@127.0.0.1:6379/0?password=SECRET"),
        ("REDIS_URL", "http://me:SECRET@127.0.0.1"),
        ("AUTHZ_RECORD_SINK", "https://me:SECRET@example.com/records"),
        ("AUTHZ_RECORD_SINK", "redis://:SECRET@127.0.0.1:6379/0/records"),
        ("AUTHZ_RECORD_SINK", "kafka://a:1,me:SECRET@b:2/records"),
        ("AUTHZ_RECORD_SINK", "file:/tmp/x,amqp://me:SECRET@b:2/records"),
        ("AUTHZ_RECORD_SINK", "amqp://me:SECRET@b:2/records"),
        ("AUTHZ_TRACE_SINK", "otlp://me:SECRET@example.com"),
        ("AUTHZ_TRACE_SINK", "http://me:SECRET@example.com"),
        ("AUTHZ_RECORD_REDIS_PASSWORD", b"SECRET\xff\xfe"),
        ("AUTHZ_RECORD_HTTP_TOKEN", "SECRET\nx: y"),
        ("AUTHZ_RECORD_KAFKA_PASSWORD", "SECRET"),
    ],
)
def test_no_error_about_a_setting_shows_a_secret(name: str, value: str | bytes) -> None:
    secret = word("canary")
    raw = value.encode() if isinstance(value, str) else value
    raw = raw.replace(b"SECRET", secret.encode()).replace(b"SHORT", secret[:24].encode())
    with pytest.raises(AuthzError) as raised:
        require_supported(settings.load({"policies": ["x"]}, {name.encode(): raw}))
    shown = (
        str(raised.value) + repr(raised.value) + repr(raised.value.__cause__) + repr(raised.value.__context__)
    )
    assert secret[:24] not in shown
    assert "\n" not in str(raised.value)

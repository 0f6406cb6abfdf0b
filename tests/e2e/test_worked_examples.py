"""The requests of the pages about examples, through the real Envoy: the pages say what comes of them."""

from __future__ import annotations

import json
import shutil
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from authz.cli.main import build
from authz.policy.kind_test import TestCase
from authz.proxy.client import Reply, request_bytes
from authz.proxy.upstream import Seen
from authz.snapshot.build import Surroundings
from authz.snapshot.build import build as build_set
from authz.snapshot.sources import read
from tests.support.certificates import Authority
from tests.support.pages import Asked, blocks, conversations
from tests.support.policies import PEPPER
from tests.support.proxy import Live, eventually, live

pytestmark = pytest.mark.e2e
TRANSPORTS = ("native",)  # it is the examples that are tried

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "policies" / "examples"
PAGES = ROOT / "docs" / "examples"
NAMES = ("public-site", "partner-api", "internal-grpc", "multi-tenant", "emergency-override")
SPIFFE = "spiffe://example/ns/"
WORKLOADS = {"frontend": "web/sa/frontend", "checkout": "web/sa/checkout", "runner": "batch/sa/runner"}

Send = Callable[[Asked], tuple[Reply, list[Seen]]]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHZ_STATE", "off")


def played(name: str, *serve: str, below: str = "", **changes: Any) -> AbstractContextManager[Live]:
    """Serve an example behind the real Envoy."""
    changes = {"policies": (EXAMPLES / name / below,), **changes}
    return live((), pepper=PEPPER.decode(), serve=serve, **changes)


def sender(app: Live) -> Send:
    return lambda asked: app.send_bytes(_bytes(asked))


def _bytes(asked: Asked) -> bytes:
    return request_bytes(asked.method, asked.target, asked.sent)


def check(requests: Sequence[Asked], send: Send) -> None:
    """Send what a page shows, in order, and compare what comes of each."""
    for asked in requests:
        reply, seen = send(asked)
        assert reply.status == asked.status, asked.command
        for name, value in asked.headers.items():
            assert reply.header(name) == value or (value == "..." and reply.header(name)), asked.command
        refused = asked.status != 200 or "grpc-status" in asked.headers
        assert len(seen) == (0 if refused else 1), asked.command
        for name, value in asked.gets.items():
            assert seen[0].values(name) == ([value] if value else []), asked.command


def test_every_example_has_a_page_and_every_page_requests() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} - {"demo"} == set(NAMES)
    assert {path.stem for path in PAGES.glob("*.md")} - {"README"} == set(NAMES)
    for name in NAMES:
        requests = [asked for block in conversations(PAGES / f"{name}.md") for asked in block]
        assert len(requests) >= 8
        assert {asked.status == 200 and "grpc-status" not in asked.headers for asked in requests} == {
            True,
            False,
        }


@pytest.mark.parametrize("name", ["public-site", "partner-api"])
def test_the_requests_of_a_page_are_answered_as_it_says(name: str) -> None:
    with played(name) as app:
        for requests in conversations(PAGES / f"{name}.md"):
            check(requests, sender(app))


def test_tenants_and_a_team_are_answered_as_the_page_says() -> None:
    with played(
        "multi-tenant", "--scopes", str(EXAMPLES / "multi-tenant" / "scopes"), below="policies"
    ) as app:
        for requests in conversations(PAGES / "multi-tenant.md"):
            check(requests, sender(app))


def test_a_brake_is_pulled_and_released_as_the_page_says(tmp_path: Path) -> None:
    example = EXAMPLES / "emergency-override"
    ordinary, pulled, released = conversations(PAGES / "emergency-override.md")
    with played("emergency-override", "--overrides", str(tmp_path), below="policies") as app:
        check(ordinary, sender(app))
        (tmp_path / "brake.yaml").write_bytes((example / "overrides" / "brake.yaml").read_bytes())
        assert eventually(lambda: sender(app)(pulled[0])[0].status == pulled[0].status, 20)
        check(pulled, sender(app))
        (tmp_path / "brake.yaml").write_text("# released\n")
        assert eventually(lambda: sender(app)(released[0])[0].status == released[0].status, 20)
        check(released, sender(app))


def test_workloads_are_answered_as_the_page_says(tmp_path: Path) -> None:
    page = PAGES / "internal-grpc.md"
    ca = Authority()
    ca.written(tmp_path)
    ca.vouch(f"{SPIFFE}server", dns=["localhost"]).written(tmp_path, "server")
    for name, path in WORKLOADS.items():
        ca.vouch(SPIFFE + path, dns=["localhost"]).written(tmp_path, name)
    (snippet,) = [block for block in blocks(page, "yaml") if "DownstreamTlsContext" in block]

    def edit(config: str) -> str:
        bootstrap = yaml.safe_load(config)
        (chain,) = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
        chain.update(yaml.safe_load(snippet.replace("/tls/", f"{tmp_path}/")))
        return json.dumps(bootstrap)

    with played("internal-grpc", edit=edit) as app:

        def send(asked: Asked) -> tuple[Reply, list[Seen]]:
            app.stage.upstream.take()
            reply = _send_tls(app.stage.port, asked, _tls(tmp_path, asked.cert))
            return reply, app.stage.upstream.take()

        for requests in conversations(page):
            check(requests, send)


def _send_tls(port: int, asked: Asked, context: ssl.SSLContext) -> Reply:
    connection = HTTPSConnection("localhost", port, context=context, timeout=10)
    try:
        connection.putrequest(asked.method, asked.target, skip_host=True, skip_accept_encoding=True)
        for name, value in asked.sent:
            connection.putheader(name, value)
        connection.endheaders()
        reply = connection.getresponse()
        headers = tuple((name.lower(), value) for name, value in reply.getheaders())
        return Reply(reply.status, headers, reply.read())
    finally:
        connection.close()


def _tls(directory: Path, cert: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=directory / "ca.crt")
    context.load_cert_chain(directory / cert, directory / cert.replace(".crt", ".key"))
    return context


def _commands(name: str) -> Iterator[list[str]]:
    """Yield the `authz policy test` commands of a page, and one that validates the same set."""
    text = "\n".join(blocks(PAGES / f"{name}.md", "sh")).replace("\\\n", " ")
    for line in text.splitlines():
        words = line.split()
        if words[:3] == ["authz", "policy", "test"]:
            yield words[1:]
            end = words.index("--filter") if "--filter" in words else len(words)
            yield ["policy", "validate", "--strict", *words[3:end]]


@pytest.mark.parametrize("name", NAMES)
def test_the_tests_of_an_example_pass_and_it_has_no_warnings(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    commands = list(_commands(name))
    assert len(commands) >= 2
    for words in commands:
        done = CliRunner().invoke(build(words), words)
        assert (done.exit_code, done.stderr) == (0, ""), done.output


def test_the_tests_of_a_set_with_an_override_pass_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = ["policy", "test", "policies/examples/emergency-override/policies"]
    assert CliRunner().invoke(build(words), words).exit_code == 0


@pytest.mark.parametrize(
    ("name", "below"),
    [
        ("public-site", ""),
        ("partner-api", ""),
        ("multi-tenant", "policies"),
        ("emergency-override", "policies"),
    ],
)
def test_strangers_get_through_envoy_what_the_tests_of_an_example_say(name: str, below: str) -> None:
    with played(name, below=below) as app:
        asked = 0
        for case in _cases_of_strangers(EXAMPLES / name / below):
            request, expect = case.request, case.expect
            headers = [("host", request.host), *request.headers.items()]
            reply, seen = app.send_bytes(request_bytes(request.method, request.path, headers))
            assert (reply.status, len(seen)) == (expect.status or 200, expect.outcome == "allow"), case.name
            for header, value in (expect.headers or {}).items():
                assert seen[0].values(header) == ([value] if value else []), case.name
            asked += 1
        assert asked >= 1


def _cases_of_strangers(directory: Path) -> Iterator[TestCase]:
    """Yield what nobody in particular asks from nowhere in particular: a test can send that."""
    built = build_set(read([directory]), Surroundings(), 0)
    for test in built.loaded.tests:
        for case in test.spec.cases:
            if not (case.credential or case.identity or case.request.address or case.request.principal):
                yield case


def test_a_change_that_fails_a_test_of_the_set_is_not_served(tmp_path: Path) -> None:
    directory = tmp_path / "site"
    shutil.copytree(EXAMPLES / "public-site", directory)
    policy = directory / "site.yaml"
    good = policy.read_text()
    with played("", policies=(directory,)) as app:

        def front(path: str) -> int:
            return app.send("GET", path, host="www.example.com")[0].status

        def log() -> str:
            return app.stage.sidecar.plan.log.read_text()

        assert (front("/about"), front("/contact")) == (200, 403)
        policy.write_text(good.replace("/about,", "/contact,"))
        assert eventually(
            lambda: "a bad session does not keep anybody from the public pages` fails" in log(), 20
        )
        assert (front("/about"), front("/contact")) == (200, 403)
        policy.write_text(good.replace("/about,", "/about, /contact,"))
        assert eventually(lambda: front("/contact") == 200, 20)
        assert front("/about") == 200


def test_examples_are_written_as_the_formatter_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = ["policy", "fmt", "--check", "policies/examples"]
    done = CliRunner().invoke(build(words), words)
    assert done.exit_code == 0, done.output

"""`authz limits` beside a debug socket and a Redis; whole sidecars: tests/e2e/test_limits_command.py."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import pack

import pytest
from typer.testing import CliRunner, Result

from authz.cli import limits as command
from authz.cli import limits_stores
from authz.limits.inquiry import Answer, Answers, Inquiry, Row, Shelved, encode, inquiry_of
from authz.limits.redis.inspect import Inspector
from authz.limits.redis.keys import Keys
from authz.model.errors import StoreUnavailable
from authz.model.limit import Rate, Spend
from authz.transport.ops import OpsServer
from authz.transport.routes import Post, Response
from tests.support.buckets import FIRST, SECOND, written
from tests.support.redis import RedisServer, redis_server

KEYS = Keys("default")


class Sidecar:
    """A debug socket that holds one bucket."""

    def __init__(self, home: Path) -> None:
        self.address = f"unix:{home}/d.sock"
        self.asked: list[Inquiry] = []
        self.reset: list[Inquiry] = []
        self.rows = [Row(["per-key", "example", FIRST.id], "d", 2.0, 0)]
        self.answer: Callable[[Inquiry], Response] = self._told
        posts: dict[str, Post] = {"/limits/find": self._find, "/limits/reset": self._reset}
        self.server = OpsServer(self.address, {}, posts)

    def _find(self, body: bytes) -> Response:
        self.asked.append(inquiry_of(body))
        return self.answer(self.asked[-1])

    def _reset(self, body: bytes) -> Response:
        self.reset.append(inquiry_of(body))
        return self.answer(self.reset[-1])

    def _told(self, _: Inquiry) -> Response:
        answers = Answers([Answer("", -1, [Shelved("memory", 1, 1, self.rows)])])
        return Response(200, "application/json", encode(answers))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    written(tmp_path / "set")


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path)
    made.server.start()
    yield made
    made.server.close()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def run(
    *words: str, sidecar: Sidecar | None = None, redis: RedisServer | None = None, stdin: str = ""
) -> Result:
    own = ["--policies", "set", *(["--debug", sidecar.address] if sidecar else [])]
    env = {"REDIS_URL": redis.url} if redis else {}
    return CliRunner().invoke(command.app, [*words, *own], env=env, input=stdin)


def test_it_is_shown_who_is_refused(sidecar: Sidecar) -> None:
    shown = run("show", "--key", "first", sidecar=sidecar)
    assert shown.exit_code == 0
    assert shown.stdout.startswith("refused by `per-key` (key first) in memory: until ")
    assert "note: counted by something else, so not shown: `per-network`, `per-visit`" in shown.stderr
    assert "whole" not in shown.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "say whose buckets"),
        (("--key", "first", "--customer", "acme"), "say whose buckets"),
        (("--per", "x"), "--per: values of which limit?"),
        (("--limit", "per-key", "--per", "x", "--per", "y"), "give a value for each"),
        (("--key", "frist"), "did you mean `first`?"),
        (("--customer", "acme", "--customers", "exmaple"), "names it in the name space `exmaple`"),
        (("--address", "acme"), "is no IP address"),
        (("--key", "first", "--limit", "nope"), "has no Limit `nope`"),
        (("--key", "first", "--limit", "per-network"), "no limit of this set is counted by that"),
    ],
)
@pytest.mark.parametrize("verb", ["show", "reset"])
def test_what_cannot_be_meant_is_usage(
    sidecar: Sidecar, verb: str, words: tuple[str, ...], line: str
) -> None:
    done = run(verb, *words, sidecar=sidecar)
    assert (done.exit_code, done.stdout) == (2, "")
    assert line in done.stderr
    assert done.stderr.startswith("authz: ")
    assert done.stderr.count("\n") == 1
    assert sidecar.asked == sidecar.reset == []


def test_a_set_with_faults_is_1_and_its_faults(sidecar: Sidecar, tmp_path: Path) -> None:
    (tmp_path / "set" / "more.yaml").write_text("kind: Limit\n")
    done = run("top", sidecar=sidecar)
    assert done.exit_code == 1
    assert "more.yaml:1:1" in done.stderr


def test_the_fullest_are_shown_and_of_one_limit_where_it_is_named(sidecar: Sidecar) -> None:
    assert "per-key  key first" in run("top", sidecar=sidecar).stdout
    run("top", "--limit", "per-key", "--count", "3", sidecar=sidecar)
    assert sidecar.asked == [Inquiry(count=20), Inquiry(limit="per-key", count=3)]
    assert run("top", "--limit", "nope", sidecar=sidecar).exit_code == 2
    sidecar.rows = []
    assert run("top", sidecar=sidecar).stdout == "no bucket is drawn from\n"
    assert json.loads(run("top", "--output", "json", sidecar=sidecar).stdout) == {"buckets": [], "notes": []}


def test_nothing_is_reset_unasked(sidecar: Sidecar) -> None:
    done = run("reset", "--key", "first", sidecar=sidecar)
    assert done.exit_code == 2
    assert "say --yes" in done.stderr
    assert "key first" in done.stdout
    assert sidecar.reset == []


def test_at_a_terminal_it_is_asked_first(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_is_terminal", lambda: True)
    assert "Fill 1 up? [y/N]" in run("reset", "--key", "first", sidecar=sidecar, stdin="n\n").stdout
    assert sidecar.reset == []
    assert "1 bucket is filled up" in run("reset", "--key", "first", sidecar=sidecar, stdin="y\n").stdout
    assert sidecar.reset[0].buckets == [["per-key", "example", FIRST.id]]


def test_with_yes_it_is_done_and_said(sidecar: Sidecar) -> None:
    done = run("reset", "--key", "first", "--yes", sidecar=sidecar)
    assert done.exit_code == 0
    assert done.stdout.endswith("1 bucket is filled up; sidecars remember refusals for a second at most\n")


def test_where_everything_is_full_there_is_nothing_to_do(sidecar: Sidecar) -> None:
    sidecar.rows = []
    assert (
        run("reset", "--key", "first", sidecar=sidecar).stdout == "nothing to reset: every bucket is full\n"
    )


def test_of_what_is_full_again_nothing_is_said(sidecar: Sidecar) -> None:
    digest = KEYS.digest(("all", "example", "all"))
    sidecar.rows = [Row(["all", "example", None], digest, 2.0, 3600 * 10**6)]
    done = run("reset", "--key", "first", sidecar=sidecar)
    assert done.stdout == "nothing to reset: every bucket is full\n"
    assert "left alone" not in done.stderr


def test_what_all_share_is_left_alone_unless_its_limit_is_named(sidecar: Sidecar) -> None:
    sidecar.rows = [Row(["all", "example", None], KEYS.digest(("all", "example", "all")), 2.0, 0)]
    done = run("reset", "--key", "first", "--yes", sidecar=sidecar)
    assert "note: 1 bucket is left alone" in done.stderr
    assert sidecar.reset == []
    assert run("reset", "--key", "first", "--limit", "all", "--yes", sidecar=sidecar).exit_code == 0
    assert sidecar.reset[0].buckets == [["all", "example", "all"]]


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (Response(200, "", b"nonsense"), "answers what this version does not know"),
        (Response(404, "", b""), "knows nothing of limits"),
        (Response(403, "", b'{"detail": "over a Unix socket alone"}'), "refuses: over a Unix socket alone"),
        (Response(500, "", b""), "refuses: 500"),
    ],
)
def test_a_sidecar_that_answers_otherwise_is_a_line(sidecar: Sidecar, response: Response, line: str) -> None:
    sidecar.answer = lambda _: response
    done = run("top", sidecar=sidecar)
    assert (done.exit_code, done.stdout) == (3, "")
    assert line in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_redis_and_without_a_debug_socket_nothing_can_be_seen() -> None:
    done = CliRunner().invoke(command.app, ["top", "--policies", "set", "--debug", "off"])
    assert done.exit_code == 3
    assert "or set REDIS_URL" in done.stderr


def test_directories_that_settings_name_need_not_be_named_again(sidecar: Sidecar) -> None:
    words = ["top", "--debug", sidecar.address]
    assert "key first" in CliRunner().invoke(command.app, words, env={"AUTHZ_POLICIES": "set"}).stdout
    nowhere = CliRunner().invoke(command.app, words)
    assert (nowhere.exit_code, nowhere.stdout) == (2, "")
    assert "--policies: no directory is named" in nowhere.stderr


def test_with_redis_a_debug_socket_is_not_needed(redis: RedisServer) -> None:
    words = ["top", "--policies", "set", "--debug", "off"]
    assert CliRunner().invoke(command.app, words, env={"REDIS_URL": redis.url}).exit_code == 0


def test_redis_that_goes_away_meanwhile_is_a_line(
    monkeypatch: pytest.MonkeyPatch, redis: RedisServer
) -> None:
    def gone(*_: object) -> None:
        raise StoreUnavailable("closed the connection")

    monkeypatch.setattr(Inspector, "read", gone)
    done = run("show", "--key", "first", redis=redis)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "authz: REDIS_URL: closed the connection\n"


def test_settings_that_cannot_be_used_are_3(sidecar: Sidecar) -> None:
    done = CliRunner().invoke(command.app, ["top", "--policies", "set"], env={"REDIS_URL": "nonsense"})
    assert done.exit_code == 3
    assert done.stderr.startswith("authz: REDIS_URL: ")


def owe(redis: RedisServer, key_id: str, debt: float) -> None:
    bucket = ("per-key", "example", key_id)
    name = KEYS.name(Spend("per-key", bucket, Rate(1.0, 1.0), 1.0, ("customer", "example", "acme")))
    redis.ask("SET", name, pack("<dd", debt, time.time() * 1e6))


def test_with_redis_the_fleets_buckets_are_seen_and_reset_and_no_sidecar_is_needed(
    redis: RedisServer,
) -> None:
    owe(redis, FIRST.id, 2.0)
    owe(redis, SECOND.id, 1.0)
    assert "refused by `per-key` (key first) in redis" in run("show", "--key", "first", redis=redis).stdout
    assert run("top", redis=redis).stdout.splitlines()[1].startswith("per-key  key first")
    done = run("reset", "--key", "first", "--yes", redis=redis)
    assert (done.exit_code, redis.ask("DBSIZE")) == (0, 1)
    assert "1 bucket is filled up" in done.stdout


def test_a_sidecar_beside_redis_forgets_what_it_saw_there(redis: RedisServer, sidecar: Sidecar) -> None:
    owe(redis, FIRST.id, 2.0)
    sidecar.rows = []
    run("reset", "--key", "first", "--limit", "per-key", "--yes", redis=redis, sidecar=sidecar)
    assert ["per-key", "example", FIRST.id] in sidecar.reset[0].buckets


def test_while_redis_is_away_the_sidecars_own_buckets_are_shown_and_it_is_3(sidecar: Sidecar) -> None:
    env = {"REDIS_URL": "redis://127.0.0.1:1"}
    words = ["show", "--key", "first", "--policies", "set", "--debug", sidecar.address]
    done = CliRunner().invoke(command.app, words, env=env)
    assert done.exit_code == 3
    assert "redis cannot be read; here is what the sidecar has for a time without it" in done.stdout
    assert done.stderr.endswith("authz: REDIS_URL: 127.0.0.1:1: connection refused\n")
    told = CliRunner().invoke(command.app, [*words, "--output", "json"], env=env)
    assert json.loads(told.stdout)["trouble"] == "REDIS_URL: 127.0.0.1:1: connection refused"
    sidecar.rows = []
    forgotten = CliRunner().invoke(command.app, ["reset", *words[1:], "--yes"], env=env)
    assert "0 buckets are filled up; those of other sidecars have to be filled up there" in forgotten.stdout
    assert len(sidecar.reset) == 1


def test_while_redis_is_away_and_no_sidecar_is_here_it_is_a_line() -> None:
    done = CliRunner().invoke(
        command.app, ["top", "--policies", "set"], env={"REDIS_URL": "redis://127.0.0.1:1"}
    )
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == "authz: REDIS_URL: 127.0.0.1:1: connection refused\n"


def test_how_far_a_search_is_is_told_where_somebody_watches(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    show = limits_stores._progress()
    show(500, 1200)
    show(1500, 1200)
    show(500, 0)
    told = [line.removesuffix("\x1b[K") for line in capsys.readouterr().err.split("\r")[1:]]
    assert told == ["500 of 1,200 keys looked at", "1,200 of 1,200 keys looked at", "500 keys looked at"]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    limits_stores._progress()(1, 1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["top", "--help"], ["reset", "--help"]])
def test_help_fits_a_terminal(words: list[str]) -> None:
    text = CliRunner().invoke(command.app, words, env={"COLUMNS": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert os.linesep in text

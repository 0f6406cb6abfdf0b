"""`authz attack` as people type it: against a server that holds, one that does not, and nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner, Result

from authz.cli.attack import command
from tests.support.command import run
from tests.support.naive import HOST, TOKEN, Fault, naive

APP = typer.Typer()
APP.command()(command)
PLAIN = ("--host", HOST, "--protected", "/admin", "--open", "/open")


@pytest.fixture(scope="module")
def good() -> Iterator[str]:
    with naive() as address:
        yield address


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    with naive(Fault.FREE_OPTIONS, Fault.ANY_ORIGIN) as address:
        yield address


def attack(*words: str, typed: str | None = None, **environ: str) -> Result:
    return CliRunner().invoke(APP, list(words), input=typed, env=environ)


def test_a_server_that_holds_is_said_to_hold(good: str) -> None:
    result = attack("--check", good, *PLAIN, "--class", "dots", "--class", "slashes")
    assert result.exit_code == 0, result.output
    assert "60 held, 0 got through, 0 less grave; seed 1" in result.stdout
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:3]] == [
        ["slashes", "32"],
        ["dots", "28"],
    ]


def test_what_got_through_is_shown_with_why_and_how_to_repeat_it(bad: str) -> None:
    result = attack("--check", bad, *PLAIN, "--class", "methods")
    assert result.exit_code == 1
    assert "HIGH  methods: OPTIONS  [Check, raw headers]" in result.stdout
    assert "why it matters: a method that rules do not list" in result.stdout
    assert "again: OPTIONS /admin host: naive.test" in result.stdout


def test_machines_read_json(bad: str) -> None:
    result = attack("--check", bad, *PLAIN, "--class", "methods", "--output", "json", "--seed", "9")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["seed"], told["whole"]) == (1, 9, True)
    assert {finding["group"] for finding in told["findings"]} == {"methods"}
    assert told["broken"] == len(told["findings"]) == 4


@pytest.mark.parametrize("place", ["header:x-api-key", "cookie:session"])
def test_a_credential_comes_from_the_environment_or_from_standard_input(bad: str, place: str) -> None:
    words = ("--check", bad, *PLAIN, "--class", "cookies", "--class", "bent-credentials", "--key-in", place)
    by_name = attack(*words, "--key", "GOOD", GOOD=TOKEN)
    typed = attack(*words, "--key", "-", typed=TOKEN + "\n")
    assert by_name.exit_code == typed.exit_code == (1 if place.startswith("cookie") else 0)
    assert TOKEN not in by_name.output + typed.output


def test_what_could_not_be_tried_is_said_and_is_no_success(good: str) -> None:
    result = attack("--check", good, *PLAIN, "--class", "framing")
    assert result.exit_code == 3
    assert "skipped 21: needs Envoy" in result.stdout
    assert "this run was not whole: nothing that was chosen could be tried" in result.stdout


def test_a_run_that_had_too_little_time_says_what_to_give_it(good: str) -> None:
    words = ("--check", good, *PLAIN, "--budget", "1", "--spellings", "20000", "--class", "generated-paths")
    result = attack(*words)
    assert result.exit_code == 3
    assert "what was skipped may be open; give it more --budget" in result.stdout


def test_a_run_in_which_nothing_was_seen_to_pass_proves_nothing(good: str) -> None:
    bare = ("--check", good, "--host", HOST, "--protected", "/admin", "--class", "dots")
    vain, grounded = attack(*bare), attack(*bare, "--open", "/open")
    assert "no request was seen to pass" in vain.stdout
    assert "no request was seen to pass" not in grounded.stdout
    assert (vain.exit_code, grounded.exit_code) == (3, 0)


def test_only_some_findings_are_shown_in_full() -> None:
    with naive(Fault.RAW_PREFIX) as address:
        result = attack("--check", address, *PLAIN, "--class", "slashes", "--class", "dots")
    assert "more; --output json has them all" in result.stdout


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "there is nothing to attack"),
        (("--check", "nonsense"), "there is no port in it"),
        (("--check", "shop.example:1"), "is not this machine"),
        (("--envoy", "unix:/a"), "write HOST:PORT"),
        (("--check", "unix:/a", "--http", "3"), "write 1, 2 or both"),
        (("--check", "unix:/a", "--output", "xml"), "write table or json"),
        (("--check", "unix:/a", "--class", "x"), "there is no such class"),
        (("--check", "unix:/a", "--protected", "admin"), "name a plain path"),
        (("--check", "unix:/a", "--open", "/a/%2e"), "name a plain path"),
        (("--check", "unix:/a", "--open", "/"), "name a path with a name in it"),
        (("--envoy", "http://127.0.0.1:80"), "leave the scheme out"),
        (("--envoy", "127.0.0.1:80", "--ca", "ca.pem"), "it is for --tls alone"),
        (("--check", "unix:/a", "--key-in", "x"), "no place"),
        (("--check", "unix:/a", "--key", "NOBODY_SET_THIS"), "has no variable `NOBODY_SET_THIS`"),
        (("--check", "unix:/a", "--key", "-"), "holds no line"),
        (("--check", "unix:/a", "--limited", "/a"), "write a path and a number"),
    ],
)
def test_a_slip_is_said_in_one_line(words: tuple[str, ...], what: str) -> None:
    result = attack(*words)
    assert result.exit_code == 2, result.output
    assert what in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("authz attack: ")


def test_nobody_there_is_no_verdict() -> None:
    result = attack("--check", "127.0.0.1:1", "--timeout", "1")
    assert result.exit_code == 3
    assert "look whether it runs" in result.stderr


def test_the_classes_are_listed_for_people_and_for_machines() -> None:
    result = run("attack", "--list", "--limited", "/a=5", "--identity-header", "x-user")
    assert result.returncode == 0
    assert "generated-paths" in result.stdout
    listed = json.loads(attack("--list", "--output", "json", "--class", "dots").stdout)
    assert [(row["class"], row["wires"]) for row in listed] == [("dots", ["http/1", "http/2", "check"])]

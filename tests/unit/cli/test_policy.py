from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli.policy import app
from authz.policy.document import json_schema
from tests.support.documents import PER_KEY, PROVIDER, document, join, key, policy
from tests.support.parts import opening, scope

ALLOW = "effect: allow, identity: [keys]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("set").mkdir()
    return tmp_path


def write(*documents: str) -> None:
    Path("set/a.yaml").write_text(join(*documents))


def test_a_set_that_could_be_served_is_summed_up() -> None:
    write(PROVIDER, PER_KEY, policy(f"{ALLOW}, limits: [per-key]"), policy(ALLOW, name="other"), key())
    result = CliRunner().invoke(app, ["validate", "set"])
    assert result.exit_code == 0
    summary, revision = result.stdout.strip().rsplit(" ", 1)
    assert summary == "2 policies, 1 provider, 1 key, 1 limit, revision"
    assert len(revision) == 12
    assert [line.rpartition(" ")[2] for line in result.stderr.splitlines()] == ["[no-tests]"]


def test_every_error_is_told_with_its_place_on_standard_error() -> None:
    write(PROVIDER, policy("effect: permit"))
    Path("set/b.yaml").write_text("a: [")
    Path("set/c.yml").write_text("")
    result = CliRunner().invoke(app, ["validate", "set"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert [line.rsplit(": ", 2)[0].split(": ")[0] for line in result.stderr.splitlines()] == [
        "set/a.yaml:9:65",
        "set/b.yaml:2:1",
        "set/c.yml:1:1",
    ]
    assert "\x1b" not in result.stderr


def test_a_set_that_needs_a_newer_authz_is_told_apart_from_a_wrong_one() -> None:
    for version, newer in (("v9", True), ("v1alpah1", False)):
        write(PROVIDER.replace("v1alpha1", version))
        result = CliRunner().invoke(app, ["validate", "set", "--output", "json"])
        assert result.exit_code == 1
        answer = json.loads(result.stdout)
        assert answer["needs_newer"] is newer
        assert ("needs a newer authz" in answer["errors"][0]["what"]) is newer


def test_warnings_are_told_but_do_not_count() -> None:
    write(document("IdentityProvider", "keys", "{apiKey: {in: [{query: api_key}]}}"), policy(ALLOW))
    result = CliRunner().invoke(app, ["validate", "set"])
    assert result.exit_code == 0
    assert result.stderr.startswith("set/a.yaml:4:22: warning: a key in the query (`api_key`)")


def test_a_set_for_a_cluster_is_held_to_what_is_exact_there() -> None:
    limit = document("Limit", "per-host", "{per: [request.host], rate: 5/s}")
    write(PROVIDER, limit, policy(f"{ALLOW}, limits: [per-host]"))
    assert CliRunner().invoke(app, ["validate", "set"]).exit_code == 0
    result = CliRunner().invoke(app, ["validate", "set", "--clustered"])
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if line.startswith("set/a.yaml:9:")]
    assert "not supported yet on Cluster" in result.stderr


def test_a_set_is_held_to_what_its_envoy_can_send() -> None:
    write(PROVIDER, policy(f"{ALLOW}, when: '\"a\" in context'"))
    words = ["validate", "set", "--proxy"]
    assert CliRunner().invoke(app, words[:2]).exit_code == 0
    refused = CliRunner().invoke(app, [*words, "istio"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        "set/a.yaml:9:96: `context` needs context extensions of the route, which"
    )
    warned = CliRunner().invoke(app, [*words, "gateway"])
    assert warned.exit_code == 0
    assert "[proxy-setting]" in warned.stderr
    told = CliRunner().invoke(app, [*words, "gateway", "--sends", "context"])
    assert "[proxy-setting]" not in told.stderr


def test_overrides_are_held_to_it_too(here: Path) -> None:
    write(PROVIDER, policy(ALLOW))
    (here / "brake").mkdir()
    (here / "brake/a.yaml").write_text(policy("effect: deny, peers: ['spiffe://prod/a']"))
    words = ["validate", "set", "--overrides", "brake", "--proxy"]
    refused = CliRunner().invoke(app, [*words, "managed", "--output", "json"])
    assert refused.exit_code == 1
    assert [row["part"] for row in json.loads(refused.stdout)["errors"]] == ["overrides"]
    warned = json.loads(CliRunner().invoke(app, [*words, "istio", "--output", "json"]).stdout)
    assert "proxy-setting" in {row["code"] for row in warned["warnings"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--sends", "body"], "name the Envoy"), (["--proxy", "istio", "--sends", "context"], "cannot send")],
)
def test_what_is_sent_belongs_to_an_envoy_that_can_send_it(words: list[str], said: str) -> None:
    write(PROVIDER, policy(ALLOW))
    result = CliRunner().invoke(app, ["validate", "set", *words])
    assert result.exit_code == 2
    assert said in result.stderr


def test_strict_takes_a_warning_for_a_no() -> None:
    write(PROVIDER, policy(ALLOW))
    result = CliRunner().invoke(app, ["validate", "--strict", "set"])
    assert result.exit_code == 1
    assert result.stderr.endswith("[no-tests]\n")
    told = json.loads(CliRunner().invoke(app, ["validate", "--strict", "--output", "json", "set"]).stdout)
    assert told["valid"] is True
    assert [(row["code"], row["line"]) for row in told["warnings"]] == [("no-tests", 8)]


def test_hosts_of_the_listener_are_compared_with_those_of_policies() -> None:
    write(PROVIDER, policy(ALLOW))
    served = CliRunner().invoke(app, ["validate", "set", "--hosts", "items.example.com"])
    assert "[host-not-served]" not in served.stderr
    other = CliRunner().invoke(app, ["validate", "set", "--hosts", "other.example.com"])
    assert other.exit_code == 0
    assert "[host-not-served]" in other.stderr
    odd = CliRunner().invoke(app, ["validate", "set", "--hosts", "Items.example.com"])
    assert odd.exit_code == 2


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),  # as no-color.org has it: empty is not set
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_gets_colours_unless_its_reader_wants_none(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    write(
        document("IdentityProvider", "keys", "{apiKey: {in: [{query: api_key}]}}"), policy("effect: permit")
    )
    terminal = CliRunner().invoke(app, ["validate", "set"], env=environment, color=True)
    assert terminal.exit_code == 1
    assert ("\x1b[33mwarning:" in terminal.stderr) is coloured
    assert ("\x1b" in terminal.stderr) is coloured
    assert " warning: a key in the query" in terminal.stderr.replace("\x1b[33m", "").replace("\x1b[0m", "")


def test_a_missing_directory_is_an_error() -> None:
    result = CliRunner().invoke(app, ["validate", "nowhere"])
    assert result.exit_code == 1
    assert result.stderr == "nowhere:1:1: no such file or directory: name a directory that can be read\n"


def test_what_is_in_shadow_is_told_so_that_nobody_takes_it_for_enforced() -> None:
    tried = document("Policy", "tried", f"{{mode: shadow, hosts: [a.b], rules: [{{name: r, {ALLOW}}}]}}")
    write(PROVIDER, policy(ALLOW), tried)
    result = CliRunner().invoke(app, ["validate", "set"])
    assert result.exit_code == 0
    assert result.stdout.startswith("2 policies, 1 provider, 1 of them in shadow, revision ")
    told = json.loads(CliRunner().invoke(app, ["validate", "--output", "json", "set"]).stdout)
    assert told["in_shadow"] == 1


def test_machines_get_json() -> None:
    write(PROVIDER, policy(ALLOW))
    result = CliRunner().invoke(app, ["validate", "--output", "json", "set"])
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert told["valid"] is True
    assert told["documents"]["policies"] == 1
    assert len(told["revision"]) == 12
    write(policy("effect: permit"))
    result = CliRunner().invoke(app, ["validate", "--output", "json", "set"])
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["valid"] is False
    assert "revision" not in told
    assert told["errors"] == [
        {
            "part": "platform",
            "file": "set/a.yaml",
            "line": 4,
            "column": 65,
            "what": "`spec.rules[0].effect` cannot be `permit`: write `allow` or `deny`",
        }
    ]


def test_no_directory_is_a_mistake_of_usage() -> None:
    assert CliRunner().invoke(app, ["validate"]).exit_code == 2


def test_the_schema_is_written_for_editors() -> None:
    result = CliRunner().invoke(app, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


def test_each_fault_of_a_set_in_parts_says_in_which_part_it_is(tmp_path: Path) -> None:
    team, scopes, overrides = tmp_path / "set/teams/a", tmp_path / "scopes", tmp_path / "overrides"
    for directory in (team, scopes, overrides):
        directory.mkdir(parents=True)
    (tmp_path / "set/base.yaml").write_text(opening("base"))
    (team / "a.yaml").write_text(opening("a", "b.example.com"))
    (scopes / "a.yaml").write_text(scope("a"))
    (overrides / "stop.yaml").write_text(opening("stop", rule="effect: deny"))
    flags = ["--scopes", str(scopes), "--overrides", str(overrides)]
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "set"), *flags])
    assert result.exit_code == 1
    assert "`b.example.com` is not among the hosts of the scope `a`" in result.stderr
    assert result.stderr.rstrip().endswith("[scope:a]")
    (team / "a.yaml").write_text(opening("a"))
    result = CliRunner().invoke(app, ["validate", str(tmp_path / "set"), *flags, "--output", "json"])
    told = json.loads(result.stdout)
    assert (told["valid"], told["errors"]) == (True, [])
    assert (told["documents"]["scopes"], told["documents"]["overrides"]) == (1, 1)

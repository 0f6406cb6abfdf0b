from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from envoy.service.auth.v3.external_auth_pb2 import CheckRequest
from google.protobuf import json_format
from typer.testing import CliRunner, Result

from authz.cli import explain_page
from authz.cli.policy import app
from authz.model.decision import Answered
from authz.record.entry import encode
from tests.support.checks import check_request
from tests.support.command import run
from tests.support.decisions import NOW_US, Judge
from tests.support.policies import PEPPER, MadeKey, load

ID = explain_page.DECISION_ID
KEY = MadeKey("real")
ASK = ["--host", "items.example.com", "--path", "/api/v1/items"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("API_KEY_SALT", "AUTHZ_CONFIG", "AUTHZ_TRUSTED_HOPS"):
        monkeypatch.delenv(name, raising=False)
    Path("policies").mkdir()
    Path("policies/items.yaml").write_text(explain_page.SET)
    Path("policies/key.yaml").write_text("apiVersion: policy.authz/v1alpha1\n" + KEY.document)
    return tmp_path


def explain(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["explain", *words], input=typed)


def told(*words: str, typed: str | None = None) -> dict[str, Any]:
    result = explain(*words, "--output", "json", typed=typed)
    assert result.exit_code == 0, result.stderr
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


@pytest.mark.parametrize("example", list(explain_page.examples()), ids=["refused", "allowed"])
def test_the_examples_of_the_page_are_what_the_command_prints(example: tuple[str, str]) -> None:
    Path("policies/key.yaml").unlink()
    command, text = example
    result = explain(*command.split()[3:])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == text + "\n"


def test_the_record_of_the_page_is_explained_as_the_page_says() -> None:
    Path("policies/key.yaml").unlink()
    line, command, text = explain_page.recorded()
    Path("records.jsonl").write_text(line)
    assert explain(*command.split()[3:]).stdout == text + "\n"


def test_a_whole_check_request_is_taken_from_a_file_or_from_standard_input() -> None:
    payload = check_request(host="items.example.com", path="/api/v1/items", headers=[("x-a", "b")])
    text = json_format.MessageToJson(CheckRequest.FromString(payload))
    Path("check.json").write_text(text)
    from_file = told(
        "policies", "--request", "check.json", "--as", "acme-reporting", "--at", "2026-06-01T00:00:00Z"
    )
    typed = told(
        "policies", "--request", "-", "--as", "acme-reporting", "--at", "2026-06-01T00:00:00Z", typed=text
    )
    assert from_file == typed
    assert from_file["answer"]["outcome"] == "allow"
    assert "x-a" in from_file["request"]["headers"]


def test_headers_are_taken_one_by_one_or_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY_SALT", PEPPER.decode())
    Path("headers").write_text(f"x-api-key: {KEY.token}\n\nx-b: c:d\n")
    for given in (["--header", "@headers"], ["--header", "@-"]):
        answer = told("policies", *ASK, *given, "--header", "x-c:d", typed=Path("headers").read_text())
        assert answer["answer"]["outcome"] == "allow"
        assert answer["request"]["headers"] == ["x-api-key", "x-b", "x-c"]
        assert answer["readings"][0]["identity"]["key"] == "real"
        assert KEY.token.split("_")[-1] not in json.dumps(answer)


def test_without_the_pepper_a_real_token_is_not_good_and_that_is_said() -> None:
    Path("headers").write_text(f"x-api-key: {KEY.token}")
    answer = told("policies", *ASK, "--header", "@headers")
    assert answer["answer"]["detail"] == "pepper_missing"
    assert answer["readings"][0]["identity"]["key"] == "real"


def test_an_identity_may_be_made_up() -> None:
    identity = '{"provider": "partner-keys", "customer": "globex", "scopes": ["items:read"], "subject": "s"}'
    answer = told("policies", *ASK, "--identity", identity)
    assert answer["upstream"]["sets"] == {"x-customer": "globex"}
    assert answer["limits"][0]["bucket"] == ["example", "s"]


def test_time_peer_address_scheme_and_upgrade_are_what_is_said() -> None:
    answer = told(
        "policies", *ASK, "--at", "2026-06-01T14:00:00+02:00", "--address", "10.1.2.3", "--scheme", "http",
        "--principal", "spiffe://a/b", "--upgrade", "websocket", "--header", "x-forwarded-for: 1.2.3.4",
        "--trusted-hops", "1",
    )  # fmt: skip
    assert answer["time"] == "2026-06-01T12:00:00Z"
    request = answer["request"]
    assert (request["address"], request["address_from"]) == (
        "1.2.3.4",
        "entry 1 from the right of x-forwarded-for",
    )
    assert (request["scheme"], request["principal"], request["upgrade"]) == (
        "http",
        "spiffe://a/b",
        ["websocket"],
    )


def test_overrides_are_asked_first_and_shown_with_their_place() -> None:
    Path("brake").mkdir()
    Path("brake/a.yaml").write_text(
        "apiVersion: policy.authz/v1alpha1\nkind: Policy\nmetadata: {name: items}\nspec:\n"
        "  hosts: ['*']\n  rules: [{name: read, effect: deny}]\n"
    )
    answer = told("policies", *ASK, "--as", "acme-reporting", "--overrides", "brake")
    assert (answer["answer"]["reason"], answer["answer"]["override"]) == ("denied_by_rule", True)
    (rule,) = answer["readings"][0]["overrides"]
    assert (rule["says"], rule["place"]) == ("holds", "brake/a.yaml:6:11")
    assert answer["why"] == ["Override items/read holds, as it has no condition (brake/a.yaml:6:11)."]
    assert "limits" not in answer
    text = explain("policies", *ASK, "--as", "acme-reporting", "--overrides", "brake").stdout
    assert "That is the end: the rules below were not asked" in text


def test_the_record_is_looked_for_in_a_file_and_on_standard_input() -> None:
    built = load(explain_page.SET.replace("apiVersion: policy.authz/v1alpha1\n", ""))
    answer = Judge(built.snapshot).ask("/api/v1/items")
    check = answer.check
    lines = [
        encode(
            Answered(one, NOW_US, check.request, check.caller, check.decision, 401, 7),
            built.snapshot.fixed,
            1,
        )
        for one in (ID[:-1] + "0", ID)
    ]
    Path("records.jsonl").write_bytes(b"junk\n" + b"".join(lines))
    result = explain("--decision", ID, "--records", "records.jsonl")
    assert result.exit_code == 0
    assert f"decision {ID}" in result.stdout.replace("\n", " ")
    piped = run("policy", "explain", "--decision", ID, "--records", "-", typed=b"".join(lines).decode())
    assert (piped.returncode, piped.stdout) == (0, result.stdout)
    gone = explain("--decision", ID[:-1] + "f", "--records", "records.jsonl")
    assert (gone.exit_code, gone.stderr) == (
        1,
        f"authz: there is no record of decision {ID[:-1]}f in records.jsonl\n",
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "name at least one directory"),
        (["policies"], "name the request with --host"),
        (["policies", "--host", "a", "--request", "x"], "--request FILE.json is a whole request"),
        (["policies", *ASK, "--address", "203.0.113"], "--address: `203.0.113` is no IP address"),
        (["policies", "--request", "policies/items.yaml"], "not a CheckRequest in JSON"),
        (["policies", *ASK, "--as", "nobody"], "there is no ApiKey `nobody`"),
        (["policies", *ASK, "--as", "a", "--identity", "{}"], "a request has one caller"),
        (["policies", *ASK, "--identity", "{}"], "not an identity in JSON: provider"),
        (["policies", *ASK, "--identity", "{"], "not an identity in JSON"),
        (["policies", *ASK, "--header", "swordfish"], "--header: write `name: value`"),
        (["policies", *ASK, "--at", "noon"], "--at: `noon` is no time"),
        (["policies", *ASK, "--at", "2026-06-01T12:00:00"], "is no time"),
        (["--decision", "x", "--records", "y"], "a decision id looks like"),
        (["--decision", ID], "say where its record is"),
        (["--decision", ID, "--records", "a", "--debug", "unix:b"], "say where its record is"),
        (["--decision", ID, "--debug", "gone"], "there is no port in it"),
    ],
)
def test_wrong_usage_is_told_in_one_line(words: list[str], why: str) -> None:
    result = explain(*words)
    assert result.exit_code == 2
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert "swordfish" not in result.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["policies", "--request", "gone.json"], "`gone.json` cannot be read: No such file"),
        (["policies", *ASK, "--header", "@gone"], "`gone` cannot be read"),
        (["policies", *ASK, "--config", "gone.toml"], "gone.toml: no such file"),
        (["--decision", ID, "--records", "gone"], "--records: `gone` cannot be read"),
        (["--decision", ID, "--debug", "unix:gone.sock"], "--debug: nobody answers at unix:gone.sock"),
    ],
)
def test_what_is_not_there_is_no_wrong_usage(words: list[str], why: str) -> None:
    result = explain(*words)
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert why in result.stderr


def test_an_invalid_set_is_told_with_its_faults() -> None:
    Path("policies/items.yaml").write_text("a: [")
    result = explain("policies", *ASK)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("policies/items.yaml:2:1: ")


def test_there_is_no_colour_without_a_terminal_and_no_line_is_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    result = explain("policies", *ASK, "--as", "acme-reporting")
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    coloured = CliRunner().invoke(app, ["explain", "policies", *ASK], color=True)
    assert "\x1b[31mDENIED" in coloured.stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(app, ["explain", "policies", *ASK], color=True).stdout


def test_what_clients_and_files_write_moves_no_terminal() -> None:
    result = explain("policies", "--host", "items.example.com", "--path", "/\x1b[2J\u2028\u202e")
    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", result.stdout) is None


COSTLY = """apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {name: costly}
spec: {hosts: [costly.example.com], rules: [{name: all, effect: allow, identity: [anyone], limits: [few]}]}
---
apiVersion: policy.authz/v1alpha1
kind: Limit
metadata: {name: few}
spec: {per: [client.network], rate: 2/min, burst: 5, cost: "6"}
"""


@pytest.mark.parametrize(
    ("form", "headers"),
    [
        ("draft", {"ratelimit-policy": '"few";q=2;w=60', "ratelimit": '"few";r=5;t=0'}),
        ("triple", {"ratelimit-limit": "5", "ratelimit-remaining": "5", "ratelimit-reset": "0"}),
        ("x-ratelimit", {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "5", "x-ratelimit-reset": "0"}),
        ("off", {}),
    ],
)
def test_limits_are_told_in_the_form_that_is_set(
    monkeypatch: pytest.MonkeyPatch, form: str, headers: dict[str, str]
) -> None:
    Path("policies/costly.yaml").write_text(COSTLY)
    monkeypatch.setenv("AUTHZ_LIMIT_HEADERS", form)
    answer = told("policies", "--host", "costly.example.com", "--path", "/")["answer"]
    assert (answer["reason"], answer["policy"], answer["rule"]) == ("rate_limited", "costly", "all")
    assert answer["headers"] == {"content-type": "application/problem+json", **headers}

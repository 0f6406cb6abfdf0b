from __future__ import annotations

import json
import shlex

from authz.model.errors import Place, PolicyError
from authz.rehearsal.testing.report import as_json, lines, summary, title
from authz.rehearsal.testing.run import Result
from tests.support.rehearsals import SET, asked, cases, results

PASSES = f"{asked()}, expect: {{outcome: deny}}"
FAILS = f"{asked()}, credential: {{key: partner}}, expect: {{outcome: deny, status: 401}}"


def told(case: str) -> list[str]:
    return list(lines(results(*SET, cases(case)), ["set", "keys"]))


def words(case: str) -> list[str]:
    """Return the words of the command that explains a failing case."""
    return shlex.split(told(case)[-1].removeprefix("    each step: "))


def test_a_failing_case_is_told_with_its_place_what_came_and_who_decided() -> None:
    assert told(FAILS)[:-1] == [
        "4.yaml:7:7: FAILED t/case 0",
        "    outcome: expected deny, got allow",
        "    status: expected 401, got 200",
        "    decided by: items/read",
    ]
    assert told(PASSES) == []


def test_where_no_rule_decided_it_says_so_and_why_it_was_refused() -> None:
    line = told(f"{asked('/none')}, expect: {{outcome: allow}}")[2]
    assert line == "    decided by: no rule: no_matching_policy"


def test_the_command_that_explains_a_case_asks_the_same() -> None:
    start = ["authz", "policy", "explain", "set", "keys", "--method", "GET", "--host", "items.example.com"]
    time = ["--at", "2026-06-01T12:00:00Z"]
    assert words(FAILS) == [*start, "--path", "/items", "--as", "partner", *time]
    more = ", scheme: http, address: 203.0.113.7, principal: 'spiffe://a/b', upgrade: websocket"
    more += ", headers: {x-a: it's}"
    odd = f"{asked(more=more)}, expect: {{outcome: allow}}"
    assert words(odd)[len(start) :] == [
        *("--path", "/items", "--scheme", "http", "--address", "203.0.113.7"),
        *("--principal", "spiffe://a/b", "--upgrade", "websocket", "--header", "x-a: it's", *time),
    ]


def test_an_identity_is_handed_on_as_it_was_described() -> None:
    who = "identity: {provider: partner-keys, customer: acme, scopes: [a, b], labels: {tier: gold}}"
    found = words(f"{asked()}, {who}, expect: {{outcome: allow}}")
    said = json.loads(found[found.index("--identity") + 1])
    assert said == {
        "provider": "partner-keys",
        "customer": "acme",
        "scopes": ["a", "b"],
        "labels": {"tier": "gold"},
    }


def test_a_run_is_summed_up() -> None:
    found = results(*SET, cases(PASSES, FAILS), cases(PASSES, name="other"))
    assert summary(found) == "3 cases in 2 tests: 2 passed, 1 failed"
    assert summary(found[:1]) == "1 case in 1 test: 1 passed, 0 failed"


def test_machines_read_everything_that_came() -> None:
    (result,) = results(*SET, cases(FAILS))
    data = json.loads(json.dumps(as_json([result], [])))
    (case,) = data.pop("cases")
    assert data == {"valid": True, "errors": [], "passed": 0, "failed": 1}
    assert f"{case['test']}/{case['case']}" == title(result) == "t/case 0"
    assert (case["file"], case["line"], case["column"], case["passed"]) == ("4.yaml", 7, 7, False)
    assert case["differences"][1] == {"field": "status", "expected": "401", "got": "200"}
    assert case["got"] == {
        "outcome": "allow",
        "status": 200,
        "reason": "allowed",
        "rules": ["items/read"],
        "headers": {"x-customer": "acme"},
        "limits": ["per-key"],
    }


def test_machines_read_the_detail_of_a_refusal() -> None:
    broken = f"{asked('/open')}, expect: {{outcome: deny}}"
    (case,) = as_json(results(*SET, cases(broken)), [])["cases"]
    assert (case["passed"], case["got"]["detail"]) == (True, "rule_error")


def test_machines_read_why_a_set_is_invalid() -> None:
    data = as_json([], [PolicyError(Place("a.yaml", 3, 5), "is wrong")])
    assert data["valid"] is False
    assert data["errors"] == [{"file": "a.yaml", "line": 3, "column": 5, "what": "is wrong"}]


def test_a_crash_has_no_answer_to_show() -> None:
    (result,) = results(*SET, cases(PASSES))
    crashed: Result = result._replace(got=None)
    (case,) = as_json([crashed], [])["cases"]
    assert "got" not in case


def test_no_terminal_obeys_what_a_case_holds() -> None:
    odd = '"a\\e[2J\\u009b\\n::error::\\u202e"'
    case = f"{asked(more=f', headers: {{x-a: {odd}}}')}, expect: {{outcome: allow, headers: {{x-b: {odd}}}}}"
    found = told(case)
    assert all(line.isprintable() for line in found)
    assert any("\\x1b[2J" in line for line in found)

"""Requests under a policy set, and what comes of them: the reply and the record. See README.md."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from authz.identity.keyring import Peppers
from authz.model.decision import Answered
from authz.model.reason import Detail, Reason
from authz.model.site import Listener
from authz.record.entry import encode
from authz.request.host import served_hosts
from authz.snapshot.build import Surroundings, build
from authz.snapshot.snapshot import Snapshot, not_ready
from tests.support.checks import check_request
from tests.support.decisions import DECISION_ID, NOW_US, Answer, Judge
from tests.support.keys import TOKEN
from tests.support.policies import PEPPER

HERE = Path(__file__).parent
FILES = sorted((HERE / "cases").glob("*.yaml"))


def read(file: Path) -> dict[str, Any]:
    """Read one file of cases."""
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


CASES = [(file.stem, case) for file in FILES for case in read(file)["cases"]]


def snapshot_of(file: str) -> Snapshot:
    """Build the policy set of a file of cases, as `serve` does."""
    cases = read(HERE / "cases" / f"{file}.yaml")
    return built(cases["set"], tuple(cases.get("hosts", ())))


@cache
def built(name: str, hosts: tuple[str, ...] = (), *, shadow: bool = True) -> Snapshot:
    """Build a policy set for a listener that serves these hosts, with or without what is in shadow."""
    if name == "none":
        return not_ready("nothing is loaded", sidecar="sidecar-1")
    file = HERE / "sets" / f"{name}.yaml"
    around = Surroundings(Peppers(PEPPER), sidecar="sidecar-1", listener=Listener(hosts=served_hosts(hosts)))
    documents = file.read_text().split("\n---\n")
    if not shadow:
        documents = [
            text.replace(", limits: [tried]", "") for text in documents if "mode: shadow" not in text
        ]
    return build({file.name: "\n---\n".join(documents).encode()}, around, loaded_at_us=0).snapshot


def payload(case: dict[str, Any]) -> bytes:
    """Write the check as Envoy does."""
    if "raw" in case:
        return bytes.fromhex(case["raw"])
    asked = dict(case["request"])
    headers = list(asked.pop("headers", {}).items())
    headers += [(f"x-{number}", "1") for number in range(asked.pop("more_headers", 0))]
    if "token" in case:
        headers.append(("x-api-key", TOKEN if case["token"] == "valid" else case["token"]))
    headers = [(name, value.replace("TOKEN", TOKEN)) for name, value in headers]
    path = asked.pop("path", "/").replace("TOKEN", TOKEN) + "a" * asked.pop("more_path", 0)
    peer = asked.pop("address", "203.0.113.7")
    return check_request(
        **{"host": "items.example.com", "path": path, "peer": peer, "headers": headers, **asked}
    )


def reply_of(answer: Answer) -> dict[str, Any]:
    """Say what Envoy is told, in the words of the cases."""
    if answer.allowed:
        ok = answer.message.ok_response
        parts = {
            "set": answer.headers,
            "remove": sorted(answer.removed),
            "remove_query": list(ok.query_parameters_to_remove),
        }
        return {"status": 200, **{name: value for name, value in parts.items() if value}}
    headers = answer.headers
    assert headers.pop("x-authz-decision-id") == DECISION_ID
    said: dict[str, Any] = {
        "status": answer.status,
        "reason": headers.pop("x-authz-reason"),
        "code": answer.message.status.code,
    }
    if headers.pop("content-type", "") == "application/problem+json":
        problem = json.loads(answer.body)
        assert (problem["decision_id"], problem["status"]) == (DECISION_ID, answer.status)
        assert (problem["reason"], problem["sidecar"]) == (said["reason"], "sidecar-1")
        said |= {"limits": problem["limits"]} if "limits" in problem else {}
    else:
        said["body"] = answer.body.replace(DECISION_ID, "ID")
    return said | ({"headers": headers} if headers else {})


def record_of(answer: Answer, snapshot: Snapshot) -> dict[str, Any]:
    """Write the record and take away what is alike in all."""
    check = answer.check
    answered = Answered(
        DECISION_ID,
        NOW_US,
        check.request,
        check.caller,
        check.decision,
        answer.status,
        25,
        shadow=answer.shadow,
    )
    record: dict[str, Any] = json.loads(encode(answered, snapshot.fixed, 1))
    fixed = {name: record.pop(name) for name in ("v", "time", "decision_id", "sidecar", "seq", "duration_us")}
    assert list(fixed.values()) == [1, "2026-05-28T20:26:40.000000Z", DECISION_ID, "sidecar-1", 1, 25]
    assert record.pop("revision", "") == snapshot.revision
    return record


def outcome(file: str, case: dict[str, Any]) -> dict[str, Any]:
    """Ask, as often as the case says, and say what came of it."""
    snapshot = snapshot_of(file)
    judge = Judge(snapshot)
    for _ in range(1, case.get("times", 1)):
        judge.answer(payload(case))
    answer = judge.answer(payload(case))
    return {"reply": reply_of(answer), "record": record_of(answer, snapshot)}


@pytest.mark.parametrize(("file", "case"), CASES, ids=[f"{file}: {case['name']}" for file, case in CASES])
def test_a_decision_is_as_written(file: str, case: dict[str, Any]) -> None:
    assert outcome(file, case) == {"reply": case["reply"], "record": case["record"]}


def test_no_case_tells_the_token() -> None:
    for file in FILES:
        assert TOKEN not in file.read_text()
    for stem, case in CASES:
        assert TOKEN[-20:] not in json.dumps(outcome(stem, case))


def test_without_the_documents_in_shadow_every_reply_is_the_same() -> None:
    cases = [case for file, case in CASES if read(HERE / "cases" / f"{file}.yaml")["set"] == "trial"]
    shaded, plain = built("trial"), built("trial", shadow=False)
    assert (shaded.shadow is None, plain.shadow is None) == (False, True)
    for case in cases:
        judges = Judge(shaded), Judge(plain)
        for _ in range(case.get("times", 1)):
            one, other = (judge.answer(payload(case)) for judge in judges)
            assert one.payload == other.payload, case["name"]
    assert len(cases) >= 8


# Of later parts of the product, or of the transport (see tests/unit/test_fail_closed.py).
ELSEWHERE = {Reason.STORE_UNAVAILABLE, Reason.OVERLOADED, Reason.INTERNAL_ERROR}


def test_every_reason_has_a_case() -> None:
    told = {case["record"]["reason"] for _, case in CASES}
    assert told == {reason.value for reason in Reason if reason not in ELSEWHERE}
    assert len(CASES) >= 25


def test_every_status_of_a_bad_request_has_a_case() -> None:
    told = {case["record"]["status"] for _, case in CASES if case["record"]["reason"] == Reason.BAD_REQUEST}
    assert told >= {400, 405, 414, 421, 431}
    assert {case["record"].get("detail") for _, case in CASES} & {Detail.UNDECODABLE}

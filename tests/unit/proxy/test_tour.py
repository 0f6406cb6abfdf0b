"""A tour that cannot fail proves nothing: each expectation is broken once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authz.model.reason import Reason
from authz.proxy import tour
from authz.proxy.client import Reply
from authz.proxy.steps import Step
from authz.proxy.upstream import Seen

STEP = Step(
    "a step",
    "GET",
    "/items",
    200,
    Reason.ALLOWED,
    sees={"x-auth-customer": "acme", "x-api-key": ""},
    replies={"x-a": "1", "x-b": "*"},
)
REPLY = Reply(200, (("x-a", "1"), ("x-b", "anything")))
RECORD = {"reason": "allowed"}
SEEN = Seen("GET", "/items", (("x-auth-customer", "acme"),))


def _faults(
    step: Step = STEP, reply: Reply = REPLY, record: dict[str, Any] = RECORD, seen: tuple[Seen, ...] = (SEEN,)
) -> list[str]:
    return list(tour._faults(step, reply, record, seen))


def test_what_comes_as_expected_has_no_fault() -> None:
    assert _faults() == []


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (lambda: _faults(reply=replace(REPLY, status=403)), "expected status 200, got 403"),
        (lambda: _faults(record={"reason": "denied_by_rule"}), "got denied_by_rule"),
        (lambda: _faults(record={}), "got None"),
        (
            lambda: _faults(reply=Reply(200, (("x-a", "2"), ("x-b", "c")))),
            "expected the header x-a: 1, got 2",
        ),
        (lambda: _faults(reply=Reply(200, (("x-a", "1"),))), "expected the header x-b: *, got none"),
        (lambda: _faults(seen=()), "expected 1 calls of the application, got 0"),
        (lambda: _faults(seen=(SEEN, SEEN)), "expected 1 calls of the application, got 2"),
        (lambda: _faults(seen=(replace(SEEN, path="/admin"),)), "to see GET /items"),
        (lambda: _faults(seen=(replace(SEEN, method="HEAD"),)), "to see GET /items"),
        (lambda: _faults(seen=(replace(SEEN, headers=()),)), "no x-auth-customer as acme"),
        (
            lambda: _faults(seen=(replace(SEEN, headers=(*SEEN.headers, ("x-auth-customer", "root"))),)),
            "acme, root as acme",
        ),
        (lambda: _faults(seen=(replace(SEEN, headers=(*SEEN.headers, ("x-api-key", "s"))),)), "as absent"),
    ],
)
def test_what_does_not_is_named(faults: Callable[[], list[str]], words: str) -> None:
    found = faults()
    assert len(found) == 1
    assert words in found[0]


def test_a_refused_request_that_reaches_the_application_is_a_fault() -> None:
    refused = Step("refused", "GET", "/items", 401, Reason.CREDENTIAL_MISSING)
    assert _faults(refused, Reply(401), {"reason": "credential_missing"}, (SEEN,)) != []


def test_an_answer_of_envoys_own_has_no_record() -> None:
    own = Step("odd", "GET", "/a%2f", 400, None)
    assert _faults(own, Reply(400), {}, ()) == []
    assert _faults(own, Reply(400), {"reason": "bad_request"}, ()) != []


def test_an_outcome_says_what_the_application_saw_and_never_a_credential() -> None:
    leaked = replace(SEEN, headers=(*SEEN.headers, ("x-api-key", "secret")))
    outcome = tour.Outcome(STEP, REPLY, RECORD, (leaked,), ())
    assert outcome.application == "GET /items, x-auth-customer: acme, x-api-key: (a credential)"
    assert tour.Outcome(STEP, REPLY, RECORD, (), ()).application == "not called"


def test_an_outcome_says_what_the_record_says() -> None:
    def told(record: dict[str, Any]) -> str:
        return tour.Outcome(STEP, REPLY, record, (), ()).told

    assert (
        told({"reason": "credential_invalid", "detail": "key_revoked"}) == "credential_invalid (key_revoked)"
    )
    assert told(RECORD) == "allowed"
    assert told({}) == "Envoy itself"


def test_a_record_is_found_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    line = json.dumps({"request_id": "tour-1", "reason": "allowed"})
    path.write_text(line[:10])
    records = tour._Records(path)
    assert records.find("tour-1", 0) == {}
    path.write_text(line + "\n" + json.dumps({"reason": "x"}) + "\n" + line[:5])
    assert records.find("tour-1", 0)["reason"] == "allowed"
    assert records.find("tour-2", 0.02) == {}

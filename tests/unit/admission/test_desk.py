"""What the door brings: one path, POST, reviews; each counted."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from structlog.testing import capture_logs

from authz.admission import desk as desks
from authz.admission.desk import Desk
from authz.admission.numbers import Numbers
from authz.admission.review import Reviewed
from authz.admission.wire import Question
from authz.injection.template import Template
from tests.support.admission import TEMPLATE, pod, question

READ = Template.parse(TEMPLATE)


def _asked(body: bytes, method: str = "POST", path: str = "/inject") -> Question:
    return Question(method, path, body, last=False)


def test_reviews_are_answered_and_counted() -> None:
    numbers = Numbers()
    desk = Desk(lambda: READ, numbers)
    bodies = [question(pod()), question(pod(port="x")), question(pod(label="")), b"garbage"]
    statuses = [desk.answer(_asked(body))[0] for body in bodies]
    assert statuses == [200, 200, 200, 400]
    page = numbers.page().decode()
    for labels in ('kind="pod",outcome="patched"', 'kind="pod",outcome="refused"'):
        assert f"authz_webhook_reviews_total{{{labels}}} 1.0" in page.replace('outcome="', 'outcome="')
    assert 'authz_webhook_reviews_total{kind="other",outcome="unreadable"} 1.0' in page
    assert 'authz_webhook_reviews_total{kind="pod",outcome="failed"} 0.0' in page
    assert "authz_webhook_review_seconds_count 4.0" in page


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/inject", HTTPStatus.METHOD_NOT_ALLOWED),
        ("POST", "/", HTTPStatus.NOT_FOUND),
        ("POST", "/inject/", HTTPStatus.NOT_FOUND),
        ("GET", "/metrics", HTTPStatus.NOT_FOUND),
    ],
)
def test_there_is_nothing_else(method: str, path: str, status: HTTPStatus) -> None:
    desk = Desk(lambda: READ, Numbers())
    assert desk.answer(_asked(question(pod()), method, path))[0] == status


def test_a_fault_of_ours_is_logged(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(desks, "review", lambda *_: Reviewed("pod", "failed", b"{}", "a bug"))
    status, reply = Desk(lambda: READ, Numbers()).answer(_asked(b""))
    assert (status, json.loads(reply)) == (200, {})
    said = capfd.readouterr()
    assert "a review failed" in said.out + said.err


def test_a_flood_of_refusals_is_counted_and_not_logged_line_by_line() -> None:
    numbers, clock = Numbers(), [100.2]
    desk = Desk(lambda: READ, numbers, lambda: clock[0])
    wrong = _asked(question(pod(port="x")))
    with capture_logs() as logs:
        for _ in range(50):
            desk.answer(wrong)
        clock[0] = 101.0
        desk.answer(wrong)
    assert [line["unlogged"] for line in logs] == [0] * 10 + [40]
    assert 'authz_webhook_reviews_total{kind="pod",outcome="refused"} 51.0' in numbers.page().decode()

from __future__ import annotations

from authz.model.reason import Reason
from authz.proxy import steps

TOKENS = {wanted.name: f"ak_live_{wanted.name}" for wanted in steps.KEYS}
TOUR = steps.steps(TOKENS)


def test_titles_are_unique_since_people_read_them() -> None:
    assert len({step.title for step in TOUR}) == len(TOUR) >= 16


def test_only_an_allowed_request_reaches_the_application() -> None:
    assert all(step.passes == (step.reason is Reason.ALLOWED) for step in TOUR)
    assert {step.status for step in TOUR if step.passes} == {200}


def test_every_kind_of_answer_is_on_the_tour() -> None:
    assert {step.status for step in TOUR} == {200, 400, 401, 403, 405, 421, 429}


def test_every_key_is_presented() -> None:
    sent = "".join(value for step in TOUR for _, value in step.headers)
    for token in TOKENS.values():
        assert token in sent

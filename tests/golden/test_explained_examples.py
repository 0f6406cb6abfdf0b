"""The worked examples: what their tests expect is what an explanation says of the same request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authz.policy.kind_test import PolicyTestSpec, TestCase
from authz.rehearsal.explaining.explain import explain
from authz.rehearsal.scene import message_of, of_case
from authz.snapshot.build import Built, Surroundings, build
from authz.snapshot.sources import read

EXAMPLES = Path(__file__).parents[2] / "policies/examples"
# One directory of documents each; what is laid out with scopes and overrides is read by other tests.
PLAIN = ("demo", "internal-grpc", "partner-api", "public-site")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _cases() -> Iterator[tuple[Built, PolicyTestSpec, TestCase]]:
    for name in PLAIN:
        built = build(read([EXAMPLES / name]), Surroundings(), 0)
        for document in built.loaded.tests:
            for case in document.spec.cases:
                yield built, document.spec, case


@pytest.mark.parametrize(("built", "spec", "case"), [pytest.param(*one, id=one[2].name) for one in _cases()])
def test_a_case_is_explained_as_it_is_expected(built: Built, spec: PolicyTestSpec, case: TestCase) -> None:
    now_us = (spec.now - _EPOCH) // timedelta(microseconds=1)
    scene, cast = of_case(case)
    told = explain(built, message_of(scene, now_us), cast, now_us)
    expect = case.expect
    assert told.answer.outcome == expect.outcome, told.why
    assert expect.reason in (None, told.answer.reason)
    assert expect.status in (None, told.answer.status)
    assert expect.rule in (None, told.answer.rule)
    assert told.why


def test_there_are_cases() -> None:
    assert len(list(_cases())) > 20

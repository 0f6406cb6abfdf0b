from __future__ import annotations

from authz.model.meaning import DETAILS, REASONS
from authz.model.reason import Detail, Reason


def test_every_reason_and_every_detail_has_a_meaning() -> None:
    assert list(REASONS) == list(Reason)
    assert {detail for details in DETAILS.values() for detail in details} == set(Detail)

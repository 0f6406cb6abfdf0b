"""Which queries are refused."""

from __future__ import annotations

import time

import pytest

from authz.model.reason import Detail
from authz.request.query import query_fault


@pytest.mark.parametrize("raw", ["", "a=b", "a=%zz", "%", "a;b&c=?/:@", '"<>[]{}|\\^`', "a=1&a=2&&="])
def test_a_query_stays_as_it_was_sent(raw: str) -> None:
    assert query_fault(raw) is None


@pytest.mark.parametrize("raw", ["a\x00", "a\n", "\x7f", "a=é", "a b", "a#b", "\u2028", "a\x1b[0m"])
def test_what_no_honest_client_writes_is_refused(raw: str) -> None:
    assert query_fault(raw) is Detail.QUERY_INVALID


def test_a_long_query_takes_linear_time() -> None:
    began = time.process_time()
    assert query_fault("p=1&" * 1_000_000) is None
    assert time.process_time() - began < 1  # about 2 ms; a square would take hours

"""One application, one sidecar and one Envoy for all end-to-end tests that do not break them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy import Live, live


@pytest.fixture(scope="session")
def app() -> Iterator[Live]:
    """The scene of `tests/e2e/policies`, shared: a test leaves it as it found it."""
    with live() as running:
        yield running

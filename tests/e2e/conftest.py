"""One application, one sidecar and one Envoy for all end-to-end tests that do not break them; twice.

Every test runs on both fronts, since the sidecars that it starts inherit our environment. A module that needs
only one of them, or starts none, says so: `TRANSPORTS = ("native",)`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.proxy import Live, live

_BOTH = ("native", "grpcio")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of a module on the fronts that it says, or on both."""
    if "transport" not in metafunc.fixturenames:
        metafunc.fixturenames.append("transport")
    which = getattr(metafunc.module, "TRANSPORTS", _BOTH)
    metafunc.parametrize("transport", which, indirect=True, scope="session")


@pytest.fixture(scope="session")
def transport(request: pytest.FixtureRequest) -> Iterator[str]:
    """What serves the sidecars' sockets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "AUTHZ_TRANSPORT", request.param)
        yield request.param


@pytest.fixture(scope="session")
def app(transport: str) -> Iterator[Live]:
    """The scene of `tests/e2e/policies`, shared: a test leaves it as it found it."""
    with live() as running:
        yield running

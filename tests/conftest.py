"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.kafka import KafkaServer


@pytest.fixture(scope="session", autouse=True)
def _state_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process that a test starts may keep a policy set where an installation keeps its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """One broker for all tests that deliver to it. Whoever kills it starts it again."""
    kafka = pytest.importorskip("tests.support.kafka", reason="needs the extra `kafka`")
    if missing := kafka.kafka_is_missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(missing)
    with kafka.kafka() as server:
        yield server

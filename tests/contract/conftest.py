"""What several tests of this folder share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.incident import Day, bad_day
from tests.support.prometheus import MONITORING, program

ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]


@pytest.fixture(scope="session")
def day() -> Iterator[Day]:
    """A bad day that is over: everything went wrong, every alert fired; all was put right, all cleared."""
    program("prometheus")
    with tempfile.TemporaryDirectory(prefix="authz-") as home, bad_day(Path(home)) as made:
        made.open()
        made.wait_until_cleared(set(ALERTS))
        made.strike()
        made.wait_until_fired(set(ALERTS))
        made.mend()
        made.wait_until_cleared(set(ALERTS))
        yield made

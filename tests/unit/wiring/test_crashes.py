"""What is logged of a crash."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from authz.wiring.clock import SystemClock
from authz.wiring.crashes import Crashes


def test_crashes_are_logged_without_what_clients_sent_and_not_for_each_call() -> None:
    crashes = Crashes(SystemClock())
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(ValueError, match="c4n4ry") as caught:
                int("c4n4ry")
            crashes.tell(caught.value)
    (line,) = logs
    assert line["kind"] == "ValueError"
    assert line["place"].startswith("test_crashes.py:")
    assert "c4n4ry" not in str(line)

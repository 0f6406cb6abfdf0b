from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog

from authz.config.log import configure, correlated, get_logger


@pytest.fixture(autouse=True)
def _undo() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@contextmanager
def logged(level: str = "info") -> Iterator[list[str]]:
    """Collect the lines that are logged inside."""
    reader, writer = os.pipe()
    configure(level, writer)
    lines: list[str] = []
    try:
        yield lines
    finally:
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            lines += file.read().decode("ascii").splitlines()


def test_an_event_is_one_json_line_with_room_level_and_time() -> None:
    log = get_logger("snapshot")
    with logged() as lines:
        log.warning("set refused", faults=2)
    [line] = lines
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {"event": "set refused", "faults": 2, "level": "warning", "room": "snapshot"}


def test_a_level_silences_what_is_below_it() -> None:
    with logged("error") as lines:
        get_logger("x").warning("no")
        get_logger("x").error("yes")
    assert [json.loads(line)["event"] for line in lines] == ["yes"]


def test_ids_stand_on_every_line_inside_and_on_none_outside() -> None:
    with logged() as lines:
        with correlated(decision_id="d1"):
            get_logger("x").info("inside")
        get_logger("x").info("outside")
    first, second = (json.loads(line) for line in lines)
    assert first["decision_id"] == "d1"
    assert "decision_id" not in second


def test_hostile_text_stays_on_its_line_and_is_shortened() -> None:
    with logged() as lines:
        get_logger("x").info("a\nb\x1b[31m\x7f\u2028\ud800", path="p" * 10_000)
    [line] = lines
    assert line.isprintable()
    event = json.loads(line)
    assert event["event"] == "a\nb\x1b[31m\x7f\u2028\ud800"
    assert event["path"].endswith("...[+5904 characters]")


def test_a_crash_and_a_stranger_object_are_written_as_text() -> None:
    with logged() as lines:
        try:
            raise RuntimeError("boom")  # noqa: TRY301 - the point
        except RuntimeError:
            get_logger("x").exception("failed", thing={1})
    [line] = lines
    assert "boom" in json.loads(line)["exception"]
    assert json.loads(line)["thing"] == "{1}"


def test_a_closed_standard_error_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    configure("info", writer)
    get_logger("x").info("lost")
    os.close(writer)
    get_logger("x").info("lost too")


def test_logging_does_not_load_what_colours_consoles() -> None:
    code = "import sys, authz.config.log; print('rich' in sys.modules); import rich; print(rich.__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "rich"]

"""Who writes records where they belong: this process, or another."""

from __future__ import annotations

from pathlib import Path

import pytest

from authz.config.settings import Settings, load
from authz.wiring.records import is_shipped, spool_bytes, spool_directory


def settings(**environ: str) -> Settings:
    names = {f"AUTHZ_{name.upper()}": value for name, value in environ.items()}
    return load({"policies": [Path("/p")], "listen": ["unix:/run/a.sock"]}, names)


@pytest.mark.parametrize(
    ("environ", "shipped"),
    [
        ({}, False),
        ({"record_sink": "off"}, False),
        ({"record_sink": "file:/a"}, False),
        ({"record_sink": "file:/a", "record_file_max_bytes": "100000"}, True),
        ({"record_sink": "stdout,file:/a"}, True),
        ({"record_sink": "https://collector/"}, True),
        ({"record_chain_key": "/key.pem"}, True),
        ({"record_spool": "/spool"}, True),
        ({"record_spool": "memory"}, False),
        ({"trace_sink": "otlp://collector"}, True),
        ({"trace_sink": "otlp://collector", "record_sink": "off"}, True),
        ({"record_sink": "off", "record_spool": "/spool", "record_chain_key": "/key.pem"}, False),
    ],
)
def test_another_process_ships_what_one_file_descriptor_cannot_take(
    environ: dict[str, str], shipped: bool
) -> None:
    assert is_shipped(settings(**environ)) is shipped


def test_who_comes_after_a_killed_process_finds_what_it_left_and_nobody_else_does() -> None:
    first, again = spool_directory(settings()), spool_directory(settings(record_queue="9"))
    other = spool_directory(load({"policies": [Path("/p")], "listen": ["unix:/run/b.sock"]}, {}))
    assert first == again
    assert first != other
    assert spool_directory(settings(record_spool="/spool")) == Path("/spool")


def test_a_spool_on_disk_holds_more_than_one_in_memory_unless_somebody_says_how_much() -> None:
    assert spool_bytes(settings()) == 32 << 20
    assert spool_bytes(settings(record_spool="/spool")) == 1 << 30
    assert spool_bytes(settings(record_spool_bytes="5000000")) == 5_000_000

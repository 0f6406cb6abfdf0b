"""Reports fit the terminal on which they are read; files and pipes always get the same."""

from __future__ import annotations

import io
import os

import pytest

from authz.cli.columns import WIDTH, fitting, wrapped

TEXT = "word " * 60


class Terminal(io.StringIO):
    """Something that has as many columns as the test says."""

    def fileno(self) -> int:
        return 1


def widest() -> int:
    return max(map(len, wrapped(TEXT, "  ")))


@pytest.mark.parametrize(("columns", "most"), [(80, 80), (100, 100), (250, WIDTH), (20, 60)])
def test_lines_fit_the_terminal_within_reason(
    columns: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    with fitting(Terminal()):
        assert most - 5 <= widest() <= most
    assert WIDTH - 5 <= widest() <= WIDTH


def test_what_is_no_terminal_gets_the_same_width_everywhere() -> None:
    with fitting(io.StringIO()):
        assert WIDTH - 5 <= widest() <= WIDTH

from __future__ import annotations

from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from authz.cli import docs
from authz.config.settings import load

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", docs.pages())
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    written = (ROOT / name).read_text(encoding="utf-8")
    assert written == docs.pages()[name], "run `authz docs` in the project's root"


def test_no_row_of_a_table_lacks_its_meaning() -> None:
    for name, text in docs.pages().items():
        rows = [line for line in text.splitlines() if line.startswith("| `")]
        assert not [row for row in rows if row.endswith("|  |")], name


def test_the_example_environment_is_accepted_line_by_line() -> None:
    lines = docs.pages()[".env.example"].splitlines()
    shown = [line.removeprefix("# ").split("=", 1) for line in lines if "=" in line and line[2:3].isupper()]
    environ = {name: value for name, value in shown if value}
    assert len(environ) > 15
    assert load({}, environ) == load({}, {})


def test_the_command_writes_every_page(tmp_path: Path) -> None:
    app = Typer()
    app.command()(docs.command)
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 0
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(
        docs.pages()
    )

"""The example bootstraps in `envoy/` are what the commands in its README write, and Envoy accepts them."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli.envoy_config import app
from tests.support.proxy import envoy_complaint

TRANSPORTS = ("native",)  # no sidecar is started
ROOT = Path(__file__).parents[2]
README = ROOT / "envoy" / "README.md"

COMMANDS = [line for line in README.read_text().splitlines() if line.startswith("authz envoy config ")]


def _target(command: str) -> str:
    return command.rpartition(" > ")[2]


def test_every_example_has_its_command() -> None:
    written = {Path(_target(command)).name for command in COMMANDS}
    assert written == {path.name for path in README.parent.glob("*.yaml")} - {"cors-rules.yaml"}


@pytest.mark.e2e
@pytest.mark.parametrize("command", COMMANDS, ids=_target)
def test_an_example_is_written_by_its_command_and_accepted_by_envoy(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    arguments, _, target = command.rpartition(" > ")
    done = CliRunner().invoke(app, shlex.split(arguments)[2:])
    assert done.exit_code == 0
    assert done.stdout == (ROOT / target).read_text()
    assert envoy_complaint(ROOT / target) == ""

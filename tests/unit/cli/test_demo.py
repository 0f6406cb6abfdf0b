"""What `authz demo` prints and how it ends; that it works is shown in tests/e2e."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from authz.cli import demo
from authz.model.errors import NotStarted
from authz.model.reason import Reason
from authz.proxy.client import Reply
from authz.proxy.steps import KEYS, Step
from authz.proxy.tour import Outcome
from authz.proxy.upstream import Seen

STEP = Step("a valid key", "GET", "/api/v1/items", 200, Reason.ALLOWED)
GOOD = Outcome(STEP, Reply(200), {"reason": "allowed"}, (Seen("GET", "/api/v1/items", ()),), ())
BAD = Outcome(STEP, Reply(403), {"reason": "rule_error"}, (), ("expected status 200, got 403",))


@dataclass
class Scenery:
    """Stands for the processes: what the tour yields, and what happens while it is walked."""

    outcomes: tuple[Outcome, ...] = (GOOD,)
    trouble: BaseException | None = None
    directory: Path | None = None


@pytest.fixture
def scenery(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scenery]:
    scenery = Scenery()

    @contextmanager
    def staged(scene: object) -> Iterator[object]:
        scenery.directory = scene.directory  # type: ignore[attr-defined]  # a Scene
        yield scene

    def walk(_stage: object, _steps: object) -> Iterator[Outcome]:
        assert scenery.directory is not None
        (scenery.directory / "envoy.log").touch()
        yield from scenery.outcomes
        if scenery.trouble:
            raise scenery.trouble

    monkeypatch.setattr(demo, "_ROOT", tmp_path)
    monkeypatch.setattr(demo, "staged", staged)
    monkeypatch.setattr(demo, "make_keys", lambda *_: {key.name: f"ak_live_{key.name}" for key in KEYS})
    monkeypatch.setattr(demo, "walk", walk)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    yield scenery
    # The path of pytest's own directory is too long for sockets, so the run's may be elsewhere.
    if scenery.directory:
        shutil.rmtree(scenery.directory, ignore_errors=True)


def _run() -> Result:
    app = typer.Typer()
    app.command()(demo.command)
    return CliRunner().invoke(app, [])


def test_a_good_tour_ends_with_0_and_leaves_no_directory(scenery: Scenery) -> None:
    done = _run()
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "1 of 1 requests came out as expected"
    assert done.stdout.startswith("ok     200")
    assert scenery.directory is not None
    assert not scenery.directory.exists()


def test_a_bad_step_ends_with_1_and_says_what_was_expected(scenery: Scenery) -> None:
    scenery.outcomes = (GOOD, BAD)
    done = _run()
    assert done.exit_code == 1
    assert "a valid key: expected status 200, got 403" in done.stdout
    assert "FAILED 403" in done.stdout
    assert f"the logs are in {scenery.directory}" in done.stdout
    assert scenery.directory is not None
    assert scenery.directory.exists()


def test_a_part_that_does_not_start_ends_with_3_its_last_words_and_its_logs(scenery: Scenery) -> None:
    scenery.trouble = NotStarted("Envoy ended with exit code 1", "no such port")
    done = _run()
    assert (done.exit_code, done.stderr.splitlines()[-2:]) == (
        3,
        ["authz demo: Envoy ended with exit code 1", "no such port"],
    )
    assert scenery.directory is not None
    assert scenery.directory.exists()


def test_where_nothing_was_started_nothing_is_left(
    scenery: Scenery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(*_: object) -> dict[str, str]:
        raise NotStarted("`authz key create` failed")

    directory = tmp_path / "run"
    directory.mkdir()
    monkeypatch.setattr(demo, "short_directory", lambda _: directory)
    monkeypatch.setattr(demo, "make_keys", failing)
    assert _run().exit_code == 3
    assert not directory.exists()


def test_a_network_that_fails_ends_with_3(scenery: Scenery) -> None:
    scenery.trouble = ConnectionRefusedError("refused")
    assert _run().exit_code == 3


def test_ctrl_c_ends_with_130_and_cleans_up(scenery: Scenery) -> None:
    scenery.trouble = KeyboardInterrupt()
    assert _run().exit_code == 130
    assert scenery.directory is not None
    assert not scenery.directory.exists()


def test_without_a_checkout_there_is_nothing_to_show(
    scenery: Scenery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(demo, "_POLICIES", tmp_path / "none")
    done = _run()
    assert done.exit_code == 3
    assert "run the demo in a checkout" in done.stderr


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")
    assert not demo._report([GOOD, BAD])
    shown = capsys.readouterr().out
    assert "what the application saw" in shown
    assert "not called" in shown


def test_a_grpc_answer_shows_its_own_status() -> None:
    assert demo._status(Outcome(STEP, Reply(200, (("grpc-status", "16"),)), {}, (), ())) == "grpc 16"


def _interrupts(action: Callable[[], None]) -> bool:
    try:
        action()
    except KeyboardInterrupt:
        return True
    return False


def test_sigterm_ends_as_ctrl_c_does() -> None:
    assert _interrupts(lambda: demo._interrupt(15, None))

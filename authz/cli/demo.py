"""`authz demo`: the real Envoy, a sample application and the sidecar, and a tour of requests."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import authz
from authz.model.errors import AuthzError, NotStarted
from authz.proxy import steps
from authz.proxy.keys import make_keys
from authz.proxy.process import program
from authz.proxy.stage import Scene, Stage, new_pepper, short_directory, socket_path, staged
from authz.proxy.tour import Outcome, walk

_ROOT = Path(authz.__file__).parents[1]
_POLICIES = _ROOT / "policies" / "examples" / "demo"
_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def command(
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay up afterwards, and print requests to try.")
    ] = False,
) -> None:
    """Take a tour of requests through the real Envoy.

    With a sample application behind it and the sidecar beside it.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    # On standard error: what is printed there may be thrown away, the table may be kept.
    progress = Console(stderr=True, highlight=False)
    try:
        raise typer.Exit(_run(progress, keep=keep))
    except NotStarted as fault:
        progress.print(f"authz demo: {fault}", markup=False, soft_wrap=True)
        progress.print(fault.tail, markup=False, soft_wrap=True)
        raise typer.Exit(3) from None
    except (AuthzError, OSError) as fault:
        progress.print(f"authz demo: {fault}", markup=False, soft_wrap=True)
        raise typer.Exit(3) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _run(progress: Console, *, keep: bool) -> int:
    """Play in a directory of its own; it stays behind, with the logs, only where something went wrong."""
    if not _POLICIES.is_dir():
        raise NotStarted(f"{_POLICIES} is missing; run the demo in a checkout of the project")
    parent = _ROOT / ".run"
    parent.mkdir(exist_ok=True)
    directory = short_directory(parent)
    try:
        good = _play(directory, progress, keep=keep)
    except KeyboardInterrupt:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    except AuthzError:
        if not any(directory.glob("*.log")):
            shutil.rmtree(directory, ignore_errors=True)
        raise
    if good:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        typer.echo(f"the logs are in {directory}")
    return 0 if good else 1


def _play(directory: Path, progress: Console, *, keep: bool) -> bool:
    pepper = new_pepper()
    with progress.status("making keys") as status:
        tokens = make_keys(steps.KEYS, pepper, directory / "keys")
        scene = Scene(directory, (_POLICIES, directory / "keys"), pepper, steps.HOSTS)
        status.update("starting the application, the sidecar and Envoy")
        with staged(scene) as stage:
            outcomes = _walk(stage, tokens, status.update)
            status.stop()
            good = _report(outcomes)
            if keep:
                _stay(stage, tokens)
    return good


def _walk(stage: Stage, tokens: Mapping[str, str], say: Callable[[str], None]) -> list[Outcome]:
    outcomes = []
    for outcome in walk(stage, steps.steps(tokens)):
        outcomes.append(outcome)
        say(f"walked: {escape(outcome.step.title)}")
    return outcomes


def _report(outcomes: Sequence[Outcome]) -> bool:
    """Print what came of the tour; return whether all of it came as expected."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(_table(outcomes))
    else:
        for outcome in outcomes:
            typer.echo(_line(outcome))
    failed = [outcome for outcome in outcomes if outcome.faults]
    for outcome in failed:
        for fault in outcome.faults:
            typer.echo(f"{outcome.step.title}: {fault}")
    typer.echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} requests came out as expected")
    return not failed


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="Through Envoy", title_justify="left")
    for heading in ("", "request", "status", "recorded reason", "what the application saw"):
        table.add_column(heading)
    for outcome in outcomes:
        mark = "[red]x[/red]" if outcome.faults else "[green]✓[/green]"
        cells = (outcome.step.title, _status(outcome), outcome.told, outcome.application)
        table.add_row(mark, *(escape(cell) for cell in cells))
    return table


def _line(outcome: Outcome) -> str:
    mark = "FAILED" if outcome.faults else "ok"
    facts = f"{mark:6} {_status(outcome):8} {outcome.told:42} {outcome.step.title:30}"
    return f"{facts} {outcome.application}"


def _status(outcome: Outcome) -> str:
    grpc = outcome.reply.header("grpc-status")
    return f"grpc {grpc}" if grpc else str(outcome.reply.status)


def _stay(stage: Stage, tokens: Mapping[str, str]) -> None:
    """Print requests to try, and wait for Ctrl-C."""
    base = f"curl -i http://localhost:{stage.port}"
    key = f"-H 'x-api-key: {tokens['reader']}'"
    typer.echo("\nTry:")
    for line in (
        f"{base}/public/hello",
        f"{base}/api/v1/items {key}",
        f"{base}/api/v1/items",
        f"{base}/api/v1/items -X POST {key}",
        f"{base}/api/v1/items -X POST -H 'x-api-key: {tokens['writer']}'",
        f"{base}/api/v1/report {key}      # three times",
        f"{base}/public/%2e%2e/admin --path-as-is {key}",
        f"curl -s http://127.0.0.1:{stage.ops_port}/metrics",
        f"tail -f {stage.records}",
        _attack(stage, tokens["reader"]),
    ):
        typer.echo(f"  {line}")
    typer.echo("Ctrl-C ends everything.")
    sys.stdout.flush()
    try:
        while stage.sidecar.running and stage.envoy.running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return
    raise NotStarted(f"a part of the demo ended by itself; its log is in {stage.scene.directory}")


def _attack(stage: Stage, token: str) -> str:
    """Return the command that attacks all of it; the key travels in the environment."""
    target = f"--envoy 127.0.0.1:{stage.port} --check unix:{socket_path(stage.scene)} --host localhost"
    paths = "--protected /api/v1/items --open /public/hello"
    told = "--echo --identity-header x-auth-customer"
    return f"API_KEY='{token}' {program('authz')} attack {target} {paths} --key API_KEY {told}"


def _interrupt(number: int, _frame: object) -> None:
    """End as for Ctrl-C: a bare SIGTERM would leave the parts without anybody to stop them."""
    raise KeyboardInterrupt(number)

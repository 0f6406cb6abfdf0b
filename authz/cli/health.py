"""`authz health`: whether the sidecar beside us answers checks, for an image that has no other client."""

from __future__ import annotations

import os
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import typer

from authz.cli import door
from authz.cli.endings import CANNOT_RUN, NO, outside, stop
from authz.config.settings import load

_PAGE_MAX_BYTES = 4096


def command(
    ops: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="As `serve` was told. Default: 127.0.0.1:9192."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file. Default: authz.toml, if there."),
    ] = None,
) -> None:
    """Ask /health of the sidecar that runs here, at the address of its operations.

    Exit codes: 0 it answers checks; 1 it does not, restart it; 3 nobody is there to say.
    """
    with outside():
        where = load({"ops": ops}, os.environb, config).serve.ops
        if where is None:
            stop("--ops: is off, so nobody can say; name an address where /health is", CANNOT_RUN)
        reply = door.ask(where, "/health", _PAGE_MAX_BYTES, flag="--ops")
    if reply.status != HTTPStatus.OK:
        stop(f"/health says {reply.status}: checks are not being answered; restart it", NO)
    typer.echo("alive")

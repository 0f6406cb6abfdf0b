"""How commands end that look something up: by an exit code, and one line that says why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from authz.model.errors import ConfigError, StoreUnavailable

NO = 1
USAGE = 2
CANNOT_RUN = 3


@contextmanager
def usage() -> Iterator[None]:
    """What is wrong here is wrong with how we were called."""
    try:
        yield
    except ConfigError as error:
        stop(str(error), USAGE)


@contextmanager
def outside() -> Iterator[None]:
    """What is wrong here is wrong with the world, not with how we were called."""
    try:
        yield
    except (ConfigError, StoreUnavailable) as error:
        stop(str(error), CANNOT_RUN)


def stop(what: str, code: int) -> NoReturn:
    """Say why the command ends, in one line, and end it."""
    typer.echo(f"authz: {what}", err=True)
    raise typer.Exit(code)

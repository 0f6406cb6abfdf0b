"""`authz`: one command, its parts loaded only when they are asked for.

Importing everything costs 70 MiB, and the serving process must stay below 80: so the first word on the
command line chooses what is imported, and only help and completion import all of it.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from typing import NamedTuple

import typer

from authz import __version__
from authz.model.errors import AuthzError, ConfigError

USAGE = 2
CANNOT_RUN = 3

# The form of an API key's token, whatever its brand; see `identity/apikey.py`.
_TOKEN = re.compile(r"[0-9A-Za-z]+_[0-9A-Za-z]+_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


class _Part(NamedTuple):
    """Where a command lives: a module with `app` (a group) or with `command` (a function)."""

    module: str
    hidden: bool = False


_PARTS = {
    "serve": _Part("authz.cli.serve"),
    "health": _Part("authz.cli.health"),
    "policy": _Part("authz.cli.policy"),
    "key": _Part("authz.cli.key"),
    "limits": _Part("authz.cli.limits"),
    "logs": _Part("authz.cli.logs"),
    "envoy": _Part("authz.cli.envoy_config"),
    "inject": _Part("authz.cli.inject"),
    "demo": _Part("authz.cli.demo"),
    "bench": _Part("authz.cli.bench"),
    "attack": _Part("authz.cli.attack"),
    "inject-webhook": _Part("authz.cli.inject_webhook"),
    "inject-watch": _Part("authz.cli.inject_watch"),
    "docs": _Part("authz.cli.docs", hidden=True),
}


def build(words: list[str]) -> typer.Typer:
    """Return the command with the parts that these words need."""
    app = typer.Typer(
        name="authz",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"max_content_width": 100},  # of help; else 80 on the widest terminal
        help="The authorization sidecar for Envoy. Begin with `authz serve --help` and `authz demo`.",
    )
    app.callback()(_root)
    first = next((word for word in words if not word.startswith("-")), "")
    wanted = {first: _PARTS[first]} if first in _PARTS else {} if words == ["--version"] else _PARTS
    for name, part in wanted.items():
        module = import_module(part.module)
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name, hidden=part.hidden)
        else:
            app.command(name=name, hidden=part.hidden)(module.command)
    return app


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"authz {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Take the options of `authz` itself."""


def main() -> None:
    """Run the command line. Exit codes: 0 yes, 1 the answer is no, 2 usage, 3 cannot run."""
    # SECURITY: it would be repeated in errors, too.
    if any(map(_TOKEN.search, sys.argv[1:])):
        _fail("a token stands on the command line, where others can read it: use standard input", USAGE)
    try:
        build(sys.argv[1:])()
    except ConfigError as error:
        _fail(str(error), CANNOT_RUN)
    except AuthzError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    typer.echo(f"authz: {message}", err=True)
    raise SystemExit(code)

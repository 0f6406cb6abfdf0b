"""What `inject-webhook` and `inject-watch` are told in one way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from authz.model.errors import ConfigError

EVERYWHERE = "*"
LEVELS = ("debug", "info", "warning", "error")

_MOUNTED = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _level(text: str) -> str:
    if text not in LEVELS:
        raise typer.BadParameter(f"write one of {', '.join(LEVELS)}")
    return text


Template = Annotated[
    Path,
    typer.Option("--template", metavar="FILE", help="The `injection.json` of the chart; followed."),
]
Ops = Annotated[str, typer.Option("--ops", metavar="HOST:PORT", help="Health, readiness, metrics.")]
Watched = Annotated[
    list[str] | None,
    typer.Option(
        "--watch", metavar="NAMESPACE", help="Where labelled pods are counted; repeat; `*`: everywhere."
    ),
]
LogLevel = Annotated[
    str, typer.Option("--log-level", metavar="|".join(LEVELS), callback=_level, help="What is logged.")
]


def namespace_of(named: str | None, environment: Mapping[str, str], mounted: Path = _MOUNTED) -> str:
    """Return the namespace that we are in.

    Raises:
        ConfigError: nobody says.
    """
    found = named or environment.get("POD_NAMESPACE", "")
    if not found:
        try:
            found = mounted.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                "--namespace: this is no pod; name the namespace of Service and Secret"
            ) from None
    if not _NAMESPACE.fullmatch(found):
        raise ConfigError("--namespace: no namespace can be called so; use lower case, digits and `-`")
    return found


def watched_of(named: Sequence[str] | None) -> tuple[str, ...]:
    """Return the namespaces to watch, each once; `*` alone where it is among them.

    Raises:
        ConfigError: one is no namespace.
    """
    names = tuple(dict.fromkeys(named or ()))
    for name in names:
        if name != EVERYWHERE and not _NAMESPACE.fullmatch(name):
            raise ConfigError(
                "--watch: no namespace can be called so; use lower case, digits and `-`, or `*`"
            )
    return (EVERYWHERE,) if EVERYWHERE in names else names

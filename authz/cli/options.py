"""What the `policy` commands ask for in one way, in the words of one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SetDirectories = Annotated[
    list[Path], typer.Argument(metavar="DIR...", help="Directories of policy files, together one set.")
]
Scopes = Annotated[
    list[Path] | None,
    typer.Option("--scopes", metavar="DIR", help="Scope documents, as for `serve`; repeat."),
]
Overrides = Annotated[
    list[Path] | None,
    typer.Option("--overrides", metavar="DIR", help="Overrides, as for `serve`; repeat."),
]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings file. Default: authz.toml, if there."),
]

"""`authz policy diff`: what access changes from one policy set to another, in words."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NoReturn

import typer

from authz.cli.checkout import lay_out
from authz.cli.diff_report import as_json, as_markdown, as_text
from authz.cli.policyset import read_set
from authz.model.errors import PolicyError
from authz.policy.loaded import Loaded
from authz.rehearsal.comparing.difference import Difference, Side, difference
from authz.snapshot.sources import Directories, Sources

_DIFFERS, _USAGE, _CANNOT = 1, 2, 3


class Output(StrEnum):
    """Who reads it."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


def command(
    directories: Annotated[
        list[Path],
        typer.Argument(metavar="OLD NEW | --git REV DIR...", help="Two directories, or those of a tree."),
    ],
    git: Annotated[
        str,
        typer.Option("--git", metavar="REV", help="Compare DIR... as REV has them; A..B: as A and B do."),
    ] = "",
    scopes: Annotated[
        list[Path] | None,
        typer.Option("--scopes", metavar="DIR", help="Scope documents; without --git OLD's, then NEW's."),
    ] = None,
    overrides: Annotated[
        list[Path] | None,
        typer.Option("--overrides", metavar="DIR", help="Overrides; without --git OLD's, then NEW's."),
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", help="Text, JSON, or Markdown for a pull request.")
    ] = Output.TEXT,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 where access changes, as `git diff` does.")
    ] = False,
) -> None:
    """Say in words what access changes from one set to another.

    Who may now do what, and who no longer; comments, order and spelling are no change.

    Exit codes: 0 compared; 1 with --exit-code: access changes; 2 usage; 3 a set is invalid, or there is no
    such revision.
    """
    if git:
        found = _of_git(git, Directories(directories, scopes or (), overrides or ()))
    else:
        found = _of_directories(directories, scopes or [], overrides or [])
    typer.echo({Output.TEXT: as_text, Output.JSON: as_json, Output.MARKDOWN: as_markdown}[output](found))
    raise typer.Exit(_DIFFERS if exit_code and not found.same_access else 0)


def _of_directories(directories: list[Path], scopes: list[Path], overrides: list[Path]) -> Difference:
    if len(directories) != 2 or len(scopes) > 2 or len(overrides) > 2:
        typer.echo("authz: name two directories, OLD and NEW, or `--git REV DIR...`", err=True)
        raise typer.Exit(_USAGE)
    old, new = (_side(Directories([directories[at]], _at(scopes, at), _at(overrides, at))) for at in (0, 1))
    return difference(old, new)


def _at(directories: list[Path], number: int) -> Sequence[Path]:
    """Return what stands for one side; one alone stands for both."""
    return directories[number : number + 1] if len(directories) == 2 else directories


def _of_git(revisions: str, named: Directories) -> Difference:
    old, dots, new = revisions.partition("..")
    with TemporaryDirectory(prefix="authz-diff-") as scratch:
        before = _side(_laid_out(old, named, Path(scratch, "old")), may_be_empty=True)
        then = _laid_out(new or "HEAD", named, Path(scratch, "new")) if dots else named
        after = _side(then, may_be_empty=bool(dots))
    return difference(before, after)


def _laid_out(revision: str, named: Directories, below: Path) -> Directories:
    below.mkdir()
    every = [*named.policies, *named.scopes, *named.overrides]
    laid = lay_out(revision, every, below)
    first, second = len(named.policies), len(named.policies) + len(named.scopes)
    return Directories(laid[:first], laid[first:second], laid[second:])


def _side(named: Directories, *, may_be_empty: bool = False) -> Side:
    """Read and check one set; a directory that was not there yet, or no longer is, says nothing."""
    if may_be_empty and not Sources(named).read(every=True).policies.contents:
        return Side(Loaded())
    found = read_set(named)
    if found.built is None:
        _stop([fault.fault for fault in found.faults])
    return Side(found.loaded, found.overrides, found.built.snapshot.revision)


def _stop(faults: Sequence[PolicyError]) -> NoReturn:
    for fault in faults:
        typer.echo(str(fault), err=True)
    typer.echo("authz: a set that is invalid cannot be compared: mend it first", err=True)
    raise typer.Exit(_CANNOT)

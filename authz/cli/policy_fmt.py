"""`authz policy fmt`: policy files in their one written form, changed in place and never in meaning."""

from __future__ import annotations

import difflib
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from authz.model.errors import ConfigError
from authz.policy.layout.layout import Unformatted, formatted
from authz.policy.yaml import MAX_FILE_BYTES
from authz.snapshot.scan import printable

_NO = 1
_INPUT = "-"


class _Done(NamedTuple):
    """What came of one file; `after` is None where it is left alone, and `problem` says why."""

    name: str
    before: bytes
    after: bytes | None
    problem: str = ""

    @property
    def shown(self) -> str:
        """Its name in one line: a file may be called anything, and a terminal obeys what it is told."""
        return printable(self.name)

    @property
    def changed(self) -> bool:
        return self.after is not None and self.after != self.before


def command(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|FILE|-...", help="What to format; `-` is standard input.")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit 1 where something would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Change nothing; show what would change.")] = False,
) -> None:
    """Write policy files in their one form; comments stay.

    Order of fields, indentation, brackets and quotes. What the files say stays, too: it is compared before
    anything is written, and a file with faults is left alone and named. Files that changed are named.

    Exit codes: 0 done; 1 a file has faults, or with --check would change; 2 usage; 3 a file cannot be used.
    """
    if _INPUT in map(str, paths):
        raise typer.Exit(_standard_input(paths, check=check, diff=diff))
    done = [_format(path, name) for path, name in _files(paths)]
    for one in done:
        if one.problem:
            typer.echo(f"{one.shown}:{one.problem}", err=True)
        elif one.changed:
            _tell(one, check=check, diff=diff)
    raise typer.Exit(_code(done, asked=check))


def _code(done: Sequence[_Done], *, asked: bool) -> int:
    return _NO if any(one.problem or (asked and one.changed) for one in done) else 0


def _standard_input(paths: Sequence[Path], *, check: bool, diff: bool) -> int:
    if len(paths) > 1:
        raise typer.BadParameter("`-` stands alone", param_hint="DIR|FILE|-")
    one = _formatted(sys.stdin.buffer.read(MAX_FILE_BYTES + 1), "<stdin>")
    if one.problem or one.after is None:
        typer.echo(f"{one.shown}:{one.problem}", err=True)
        return _NO
    if diff:
        typer.echo(_difference(one), nl=False)
    elif not check:
        typer.echo(one.after.decode(), nl=False)
    return _code([one], asked=check)


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield every file to format, each once: those that are named, and those that the sidecar would read."""
    seen: set[Path] = set()
    for path in paths:
        found = sorted(_below(path, path.resolve())) if path.is_dir() else [path]
        if not path.exists():
            raise ConfigError(f"{path}: no such file or directory: name what is there")
        for file in found:
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                yield file, str(file)


def _below(directory: Path, root: Path) -> Iterator[Path]:
    # SECURITY: a link must not lead us to write where nobody named a directory.
    for entry in directory.iterdir():
        if entry.name.startswith("."):
            continue
        if not entry.resolve().is_relative_to(root):
            shown = printable(str(entry))
            raise ConfigError(
                f"{shown}: a link out of the directory: format what it leads to by its own name"
            )
        if entry.is_dir() and not entry.is_symlink():
            yield from _below(entry, root)
        elif entry.is_file() and entry.name.endswith(".yaml"):
            yield entry


def _format(path: Path, name: str) -> _Done:
    try:
        with path.open("rb") as file:
            return _formatted(file.read(MAX_FILE_BYTES + 1), name)
    except OSError as error:
        return _Done(name, b"", None, f" {(error.strerror or 'cannot be read').lower()}: make it readable")


def _formatted(content: bytes, name: str) -> _Done:
    try:
        return _Done(name, content, formatted(content, name))
    except Unformatted as refused:
        return _Done(name, content, None, str(refused))


def _tell(one: _Done, *, check: bool, diff: bool) -> None:
    if diff:
        typer.echo(_difference(one), nl=False)
    elif check:
        typer.echo(f"{one.shown}: not formatted; run `authz policy fmt`", err=True)
    else:
        _replace(Path(one.name), one.after or b"")
        typer.echo(one.shown)


def _difference(one: _Done) -> str:
    before, after = one.before.decode().splitlines(keepends=True), (one.after or b"").decode()
    lines = difflib.unified_diff(before, after.splitlines(keepends=True), one.shown, one.shown)
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _replace(path: Path, content: bytes) -> None:
    """Replace a file in one step, with its mode and owner; a link to it stays a link."""
    target = path.resolve()
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    found = target.stat()
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(descriptor, found.st_uid, found.st_gid)
            os.fchmod(descriptor, found.st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(target)
    except OSError as error:
        raise ConfigError(
            f"{path}: {(error.strerror or 'cannot be written').lower()}: nothing changed"
        ) from None
    finally:
        beside.unlink(missing_ok=True)

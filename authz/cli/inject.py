"""`authz inject`: plain manifests with the sidecar in them, where no cluster puts it there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import typer

from authz.cli.endings import NO, USAGE, outside, stop
from authz.injection.manifest import Rewritten, rewrite
from authz.injection.reading import MAX_BYTES, Document, read_documents
from authz.injection.template import MAX_BYTES as MAX_TEMPLATE_BYTES
from authz.injection.template import Template
from authz.injection.tree import mapping
from authz.injection.writing import as_json, as_yaml
from authz.model.errors import ConfigError, PolicyError
from authz.model.text import visible

_INPUT = "-"
_KEPT = "injection.json"  # its key in the chart's ConfigMap
_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, a label


def command(
    file: Annotated[
        list[str], typer.Option("--file", "-f", metavar="FILE|-", help="Manifests; `-` is standard input.")
    ],
    template: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What is put into pods: the chart's ConfigMap. Default: of the chart's default values.",
        ),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="N", help="The namespace of what names none.")
    ] = "default",
    output: Annotated[
        Literal["yaml", "json"], typer.Option("--output", "-o", help="How to write what comes out.")
    ] = "yaml",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 where something lacks the sidecar.")
    ] = False,
) -> None:
    """Put the sidecar into the pod templates of manifests that ask for it, and lead their Services to it.

    Asked for by the label `sidecar.authz/inject: "true"` of a pod template; annotations say the rest. What
    does not ask is written as it stood, and so is what has its sidecar. If something that asks cannot have
    it, nothing is written: what is piped into `kubectl apply` is whole or not there.

    Exit codes: 0 done; 1 something cannot have the sidecar or cannot be read, or with --check lacks it;
    2 usage; 3 a file or the template cannot be used.
    """
    _check_words(file, namespace)
    with outside():
        rules = _template(template)
        contents = [(each, _content(each)) for each in file]
    documents = [each for name, content in contents for each in _documents(name, content)]
    result = rewrite(documents, rules, namespace)
    for note in result.odd:
        typer.echo(f"authz: {note}", err=True)
    problems = (*result.refused, *(result.lacking if check else ()))
    for note in problems:
        typer.echo(f"authz: {note}", err=True)
    if problems:
        raise typer.Exit(NO)
    if not check:
        _write(documents, result, output)


def _check_words(file: Sequence[str], namespace: str) -> None:
    if file.count(_INPUT) > 1:
        stop("-f: standard input is named twice: name it once", USAGE)
    if not _NAMESPACE.fullmatch(namespace):
        stop(
            f"--namespace: `{visible(namespace)}` is no name of a namespace: write one such as `shop`", USAGE
        )


def _template(path: Path | None) -> Template:
    if path is None:
        return Template.parse(files("authz.injection").joinpath("default.json").read_bytes(), "default.json")
    name = visible(str(path))
    return Template.parse(_unwrapped(_bytes(path, 2 * MAX_TEMPLATE_BYTES), name), name)


def _unwrapped(content: bytes, name: str) -> bytes:
    """Return the template out of its ConfigMap, as clusters and `helm template` show it; else what it is."""
    try:
        documents = read_documents(content, name)
    except PolicyError:
        return content
    for document in documents:
        kept = mapping(mapping(document.data).get("data")).get(_KEPT)
        if mapping(document.data).get("kind") == "ConfigMap" and isinstance(kept, str):
            return kept.encode()
    return content


def _content(name: str) -> bytes:
    return sys.stdin.buffer.read(MAX_BYTES + 1) if name == _INPUT else _bytes(Path(name), MAX_BYTES)


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"{visible(str(path))}: {why}: name a file that can be read") from None


def _documents(name: str, content: bytes) -> list[Document]:
    try:
        return read_documents(content, "<stdin>" if name == _INPUT else visible(name))
    except PolicyError as fault:
        stop(str(fault), NO)


def _write(documents: Sequence[Document], result: Rewritten, output: str) -> None:
    pieces: Iterator[str]
    if output == "json":
        pairs = zip(documents, result.changed, strict=True)
        pieces = as_json([document.data if now is None else now for document, now in pairs])
    else:
        pieces = as_yaml(documents, result.changed)
    for piece in pieces:
        typer.echo(piece, nl=False)

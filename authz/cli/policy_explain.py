"""`authz policy explain`: why a request is allowed or refused, step by step."""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from authz.cli.explain_text import lines
from authz.config.settings import load
from authz.model.errors import ConfigError, SnapshotRejected
from authz.rehearsal.explain import explain
from authz.rehearsal.explanation import Explanation
from authz.rehearsal.scene import Cast, Scene, identity_from_json, message_from_json, message_of
from authz.snapshot.build import Builder, Built
from authz.snapshot.sources import read
from authz.wiring.loader import surroundings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STDIN_MAX_CHARS = 8 * 1024 * 1024


class Output(StrEnum):
    """Who reads the explanation."""

    TEXT = "text"
    JSON = "json"


def _option(name: str, metavar: str, help_: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_)


def command(
    directories: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Directories of policy files.")],
    method: Annotated[str, _option("--method", "M", "Method.")] = "GET",
    host: Annotated[str, _option("--host", "H", "Host header.")] = "",
    path: Annotated[str, _option("--path", "P", "Path and query, as sent.")] = "/",
    scheme: Annotated[str, _option("--scheme", "S", "`http` or `https`.")] = "https",
    headers: Annotated[
        list[str] | None, _option("--header", "K:V", "A request header; repeat. `@FILE` or `@-`: from there.")
    ] = None,
    key: Annotated[
        str, _option("--as", "KEY-NAME", "As if a valid token of this ApiKey document were presented.")
    ] = "",
    identity: Annotated[
        str, _option("--identity", "JSON", "As if a provider had proven this; as `identity` of a PolicyTest.")
    ] = "",
    address: Annotated[str, _option("--address", "IP", "Address of the direct peer.")] = "",
    principal: Annotated[
        str, _option("--principal", "SPIFFE-ID", "Workload that Envoy authenticated by mTLS.")
    ] = "",
    upgrade: Annotated[
        str, _option("--upgrade", "PROTOCOL", "Protocol that the request asks to switch to.")
    ] = "",
    at: Annotated[str, _option("--at", "TIME", "When it is judged: RFC 3339. Default: now.")] = "",
    request: Annotated[
        str,
        _option(
            "--request", "FILE.json", "A CheckRequest in JSON, as grpcurl takes it; `-`: standard input."
        ),
    ] = "",
    trusted_hops: Annotated[
        int | None, _option("--trusted-hops", "N", "As of `serve`: proxies that stand before ours.")
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", help="Text for people, JSON for machines.")
    ] = Output.TEXT,
) -> None:
    """Explain what would come of a request, step by step; exit 1 if the set is invalid."""
    if bool(host) == bool(request):
        _usage("name the request with --host and --path, or give a whole one with --request FILE.json")
    if key and identity:
        _usage("--as and --identity: a request has one caller; give one of them")
    now_us = _moment(at) if at else time.time_ns() // 1000
    try:
        if request:
            message = message_from_json(_text_of(request))
        else:
            scene = Scene(
                host, path, method, scheme, tuple(_headers(headers or [])), address, principal, upgrade
            )
            message = message_of(scene, now_us)
        cast = Cast(key, identity_from_json(identity) if identity else None)
        explained = explain(_built(directories, trusted_hops), message, cast, now_us)
    except ConfigError as error:
        _usage(str(error))
    _print(explained, output)


def _print(explained: Explanation, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(explained), indent=2).decode())
        return
    for line in lines(explained):
        typer.echo(line)


def _built(directories: list[Path], trusted_hops: int | None) -> Built:
    around = surroundings(load({"trusted_hops": trusted_hops}, os.environb), "explain")
    try:
        return Builder(around).build(read(directories), 0)
    except SnapshotRejected as rejected:
        for fault in rejected.faults:
            typer.echo(str(fault), err=True)
        raise typer.Exit(1) from None


def _headers(given: list[str]) -> list[tuple[str, str]]:
    texts: list[str] = []
    for one in given:
        texts += _text_of(one[1:]).splitlines() if one.startswith("@") else [one]
    return [_header(text) for text in texts if text.strip()]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name:
        # SECURITY: what stands there may be a credential, so it is not repeated.
        _usage("--header: write `name: value`")
    return name.strip(), value.strip(" \t")


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        _usage(f"--at: `{text[:60]}` is no time; write one such as 2026-06-01T12:00:00Z")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _text_of(name: str) -> str:
    try:
        return sys.stdin.read(_STDIN_MAX_CHARS) if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        _usage(f"`{name}` cannot be read: {reason}")


def _usage(what: str) -> NoReturn:
    typer.echo(f"authz: {what}", err=True)
    raise typer.Exit(2)

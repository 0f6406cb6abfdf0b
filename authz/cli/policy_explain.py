"""`authz policy explain`: why a request is allowed or refused, step by step."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
import typer

from authz.cli.columns import fitting
from authz.cli.explain_record import from_debug, from_file
from authz.cli.explain_text import lines
from authz.cli.options import Overrides, Scopes, SettingsFile
from authz.config.settings import load
from authz.model.address import parse_address
from authz.model.errors import ConfigError
from authz.model.moment import microseconds
from authz.policy.loaded import Loaded
from authz.record.fields import Record
from authz.rehearsal.explaining.explain import explain
from authz.rehearsal.explaining.explanation import Explanation
from authz.rehearsal.explaining.kept import read_record
from authz.rehearsal.explaining.recorded import explain_record
from authz.rehearsal.scene import Cast, Scene, identity_from_json, message_from_json, message_of
from authz.response.limits import Form
from authz.snapshot.assembly import Assembly
from authz.snapshot.build import Builder, Built
from authz.snapshot.overrides import OverridesBuilder
from authz.snapshot.sources import Directories, Sources
from authz.wiring.surroundings import surroundings

_DECISION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_USAGE, _CANNOT_RUN = 2, 3
_STDIN_MAX_CHARS = 8 * 1024 * 1024


class Output(StrEnum):
    """Who reads the explanation."""

    TEXT = "text"
    JSON = "json"


def _option(name: str, metavar: str, help_: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_)


def command(
    directories: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR...", help="Directories of policy files, together one set; --decision needs none."
        ),
    ] = None,
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
        int | None, _option("--trusted-hops", "N", "Proxies that stand before ours, as for `serve`.")
    ] = None,
    decision: Annotated[
        str, _option("--decision", "ID", "A decision that was made: its record is explained.")
    ] = "",
    records: Annotated[
        str, _option("--records", "FILE", "Where its record is: a file of records, or `-`: standard input.")
    ] = "",
    debug: Annotated[
        str, _option("--debug", "unix:PATH", "Where else it may be: at `serve --debug` of the sidecar.")
    ] = "",
    scopes: Scopes = None,
    overrides: Overrides = None,
    config: SettingsFile = None,
    output: Annotated[
        Output, typer.Option("--output", help="Text for people, JSON for machines.")
    ] = Output.TEXT,
) -> None:
    """Explain, step by step, why a request is allowed or refused.

    A request is described by --host and --path and whatever else it has, or given whole by --request; with
    --decision the record of one that was decided is explained.

    Exit codes: 0 explained, whatever the answer; 1 the set is invalid, or there is no record of the decision;
    2 usage; 3 a file or an address cannot be used.
    """
    named = Directories(directories or (), scopes or (), overrides or ())
    try:
        if decision:
            built = _read(named, trusted_hops, config).built if directories else None
            explained = explain_record(_record(decision, records, debug), built)
        else:
            now_us = _moment(at) if at else time.time_ns() // 1000
            _check_usage(directories, host, request, bool(key and identity))
            given = tuple(_headers(headers or []))
            _check_address(address)
            scene = Scene(host, path, method, scheme, given, address, principal, upgrade)
            message = message_from_json(_text_of(request)) if request else message_of(scene, now_us)
            cast = Cast(key, identity_from_json(identity) if identity else None)
            policies = _read(named, trusted_hops, config)
            explained = explain(
                policies.built, message, cast, now_us, policies.overrides, policies.limit_headers
            )
    except ConfigError as error:
        _usage(str(error))
    _print(explained, output)


def _check_usage(directories: list[Path] | None, host: str, request: str, both: bool) -> None:
    if not directories:
        _usage("name at least one directory of policy files")
    if host and request:
        _usage("--request FILE.json is a whole request: leave out --host, or --request")
    if not host and not request:
        _usage("name the request with --host and --path, or give a whole one with --request FILE.json")
    if both:
        _usage("--as and --identity: a request has one caller; give one of them")


def _check_address(address: str) -> None:
    """Refuse what is no address: taken as Envoy's word it would mean that there is none."""
    try:
        ip_address(address or "192.0.2.1")
    except ValueError:
        _usage(f"--address: `{address[:60]}` is no IP address; write one such as 203.0.113.7")


def _record(decision_id: str, records: str, debug: str) -> Record:
    """Return the record of a decision; exit 1 where there is none."""
    if not _DECISION_ID.fullmatch(decision_id):
        _usage("--decision: a decision id looks like 01a2043b-aabe-77e7-96c4-0bc73c9bc3e5")
    if bool(records) == bool(debug):
        _usage("--decision: say where its record is, with --records FILE or --debug unix:PATH")
    if debug:
        parse_address(debug)  # one that is none is wrong usage, unlike one where nobody answers
    with _outside():
        line = from_file(decision_id, records) if records else from_debug(decision_id, debug)
    if line is None:
        where = f"in {records}" if records else f"at {debug}: it keeps the recent ones alone"
        typer.echo(f"authz: there is no record of decision {decision_id} {where}", err=True)
        raise typer.Exit(1)
    return read_record(line)


def _print(explained: Explanation, output: Output) -> None:
    if output is Output.JSON:
        typer.echo(msgspec.json.format(msgspec.json.encode(explained), indent=2).decode())
        return
    with fitting(sys.stdout):
        for line in lines(explained):
            typer.echo(line)


class _Set(NamedTuple):
    """A whole policy set, the documents of its overrides, and how clients would be told of limits."""

    built: Built
    overrides: Loaded
    limit_headers: Form


def _read(named: Directories, trusted_hops: int | None, config: Path | None) -> _Set:
    """Read and build a set as `serve` would at its first start; exit 1 where any part of it has faults."""
    with _outside():
        settings = load({"trusted_hops": trusted_hops}, os.environb, config)
        around = surroundings(settings, "explain")
    reading = Sources(named).read()
    outcome = Assembly(Builder(around)).offer(reading, 0)
    faults = [fault for part in outcome.rejected.values() for fault in part]
    if faults or outcome.built is None:
        for fault in sorted(faults, key=lambda fault: (fault.place, fault.what)):
            typer.echo(str(fault), err=True)
        raise typer.Exit(1)
    files = reading.overrides
    loaded = OverridesBuilder().build(files).loaded if files is not None else Loaded()
    return _Set(outcome.built, loaded, settings.limits.limit_headers)


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
    return microseconds(moment)


def _text_of(name: str) -> str:
    try:
        return sys.stdin.read(_STDIN_MAX_CHARS) if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        _stop(f"`{name}` cannot be read: {reason}", _CANNOT_RUN)


@contextmanager
def _outside() -> Iterator[None]:
    """What is wrong here is wrong with the world, not with how we were called."""
    try:
        yield
    except ConfigError as error:
        _stop(str(error), _CANNOT_RUN)


def _usage(what: str) -> NoReturn:
    _stop(what, _USAGE)


def _stop(what: str, code: int) -> NoReturn:
    typer.echo(f"authz: {what}", err=True)
    raise typer.Exit(code)

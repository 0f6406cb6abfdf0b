"""What the commands of `authz logs` ask for in one way: sources, filters, and how they end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from authz.cli import door
from authz.config.settings import Settings, load
from authz.history.files import STDIN, FileSource, in_order
from authz.history.in_sidecar import SidecarSource
from authz.history.line import Kind
from authz.history.question import Question, chosen, moment_of, statuses
from authz.history.source import Source
from authz.model.address import Address
from authz.model.errors import ConfigError
from authz.model.reason import Detail, Outcome, Reason
from authz.model.text import visible
from authz.record.recent import Page, page_from

NO, USAGE, CANNOT_RUN = 1, 2, 3
_PAGE_MAX_BYTES = 64 * 1024 * 1024  # of 64 workers
_KINDS = (Kind.DECISION, Kind.GAP, Kind.EVENT)


class Output(StrEnum):
    """Who reads the answer."""

    TABLE = "table"
    JSON = "json"


def _option(name: str, metavar: str, help_: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_)


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE]...",
        help="Files (`-`: standard input; .gz too), a spool directory, redis://HOST:PORT/DB/STREAM."
        " Default: the sidecar that runs here.",
    ),
]
Since = Annotated[str, _option("--since", "TIME", "From then on: RFC 3339, or `15m`, `2h`, `3d` ago.")]
Until = Annotated[str, _option("--until", "TIME", "Before then.")]
OfOutcome = Annotated[str, _option("--outcome", "WORD", "`allow` or `deny`.")]
Reasons = Annotated[list[str] | None, _option("--reason", "REASON", "With this reason; repeat.")]
Details = Annotated[list[str] | None, _option("--detail", "DETAIL", "With this detail; repeat.")]
Statuses = Annotated[list[str] | None, _option("--status", "N", "With this status, or `4xx`; repeat.")]
OfPolicy = Annotated[str, _option("--policy", "NAME", "Decided by this policy.")]
OfRule = Annotated[str, _option("--rule", "NAME", "Decided by this rule: RULE, or POLICY/RULE.")]
OfKey = Annotated[str, _option("--key", "ID", "Of this key, by its id.")]
OfCustomer = Annotated[str, _option("--customer", "NAME", "Of this customer.")]
OfAddress = Annotated[str, _option("--address", "IP", "Of this client.")]
OfMethod = Annotated[str, _option("--method", "M", "With this method.")]
OfHost = Annotated[str, _option("--host", "HOST", "For this host.")]
OfPath = Annotated[
    str, _option("--path", "PATH", "For this path; `/a/**`: and all below it; `/a*`: all that begin so.")
]
OfRequest = Annotated[str, _option("--request-id", "ID", "With this `x-request-id`.")]
OfTrace = Annotated[str, _option("--trace-id", "ID", "Of this trace.")]
OfSidecar = Annotated[str, _option("--sidecar", "NAME", "Of this sidecar.")]
Kinds = Annotated[
    list[str] | None, _option("--kind", "KIND", "`decision`, `gap` or `event`; repeat. Default: all.")
]
Duplicates = Annotated[
    bool, typer.Option("--duplicates", help="Show what was delivered twice as often as it stands there.")
]
Debug = Annotated[
    str | None, _option("--debug", "unix:PATH", "Debug socket of the sidecar. Default: as for `serve`.")
]
OfOutput = Annotated[Output, typer.Option("--output", help="A table for people, JSON lines as they are.")]


def question(now: datetime | None = None, **given: Any) -> Question:
    """Return what is asked; ends the command where that cannot be meant."""
    now = now or datetime.now(UTC)
    with usage():
        chosen("--outcome", [given["outcome"]] if given["outcome"] else [], list(Outcome))
        since = moment_of("--since", given["since"], now)
        until = moment_of("--until", given["until"], now)
        if since and until and since >= until:
            raise ConfigError("--until: is not after --since, so that nothing lies between")
        path = given["path"]
        if path and not path.startswith(("/", "*")):
            raise ConfigError(f"--path: `{visible(path)[:60]}` begins with no `/`, as every path does")
        return Question(
            since,
            until,
            given["outcome"],
            chosen("--reason", given["reason"] or [], list(Reason)),
            chosen("--detail", given["detail"] or [], list(Detail)),
            statuses("--status", given["status"] or []),
            given["policy"],
            given["rule"],
            given["key"],
            given["customer"],
            given["address"],
            given["method"].upper(),
            given["host"].lower(),
            path,
            given["request_id"],
            given["trace_id"].lower(),
            given["sidecar"],
            frozenset(map(Kind, chosen("--kind", given["kind"] or [], list(_KINDS)))),
        )


@contextmanager
def opened(names: Sequence[str], debug: str | None, config: Path | None) -> Iterator[list[Source]]:
    """Open what is named, else the debug socket; ends the command where that cannot be done."""
    with outside(), ExitStack() as stack:
        if names and debug:
            stop("--debug: files or the sidecar? leave one of them out", USAGE)
        if not names:
            yield [sidecar(settings(debug, config))]
            return
        files = [FileSource(name) for name in names]
        for one in files:
            stack.callback(one.close)
        yield [*in_order(files)]


def settings(debug: str | None, config: Path | None) -> Settings:
    """Return the settings of `serve`."""
    return load({"debug": debug}, os.environb, config)


def sidecar(settings: Settings) -> SidecarSource:
    """Return the recent records of the sidecar that runs here.

    Raises:
        ConfigError: its operator switched the debug socket off.
    """
    address = settings.serve.debug
    if address is None:
        raise ConfigError("--debug: is `off`; name the address of `serve --debug`, or files of records")
    return SidecarSource(str(address), lambda query: _page(address, query), time.sleep)


def _page(address: Address, query: str) -> Page:
    reply = door.ask(address, f"/logs?{query}", _PAGE_MAX_BYTES)
    if reply.status == 200:
        try:
            return page_from(reply.body)
        except msgspec.MsgspecError:
            raise ConfigError(
                f"--debug: {address} answers what this version does not know; is it a sidecar's?"
            ) from None
    if reply.status == 404:
        raise ConfigError(f"--debug: {address} tells no records; is it `serve --debug`, of this version?")
    raise ConfigError(f"--debug: {address} refuses: {visible(reply.detail)[:200] or reply.status}")


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
    except ConfigError as error:
        stop(str(error), CANNOT_RUN)


def stop(what: str, code: int) -> NoReturn:
    """Say why the command ends, in one line, and end it."""
    typer.echo(f"authz: {what}", err=True)
    raise typer.Exit(code)


def says_stdin(names: Sequence[str]) -> bool:
    """Whether standard input is read."""
    return STDIN in names


def is_terminal() -> bool:
    """Whether somebody watches standard error; tests replace this."""
    return sys.stderr.isatty()

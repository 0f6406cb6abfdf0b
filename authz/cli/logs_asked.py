"""What the commands of `authz logs` ask for in one way: sources, and filters."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from authz.cli import door
from authz.cli.endings import USAGE, outside, stop
from authz.config.settings import Settings, load
from authz.history.files import STDIN, FileSource, in_order
from authz.history.in_sidecar import SidecarSource
from authz.history.in_spool import SpoolSource
from authz.history.source import Source
from authz.model.address import Address
from authz.model.errors import ConfigError
from authz.model.sink import parse_sink
from authz.model.text import visible
from authz.record.recent import Page, page_from

_PAGE_MAX_BYTES = 64 * 1024 * 1024  # of 64 workers


class Output(StrEnum):
    """Who reads the answer."""

    TABLE = "table"
    JSON = "json"


def _option(name: str, metavar: str, help_: str) -> Any:
    return typer.Option(name, metavar=metavar, help=help_)


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE...",
        help="Files (`-`: standard input; .gz too), a spool directory, redis://HOST:PORT/DB/STREAM."
        " Default: the sidecar that runs here.",
    ),
]
Duplicates = Annotated[
    bool, typer.Option("--duplicates", help="Show what was delivered twice as often as it stands there.")
]
Debug = Annotated[
    str | None, _option("--debug", "unix:PATH", "Debug socket of the sidecar. Default: as for `serve`.")
]
OfOutput = Annotated[Output, typer.Option("--output", help="A table for people, JSON lines as they are.")]


@contextmanager
def opened(names: Sequence[str], debug: str | None, config: Path | None) -> Iterator[list[Source]]:
    """Open what is named, else the debug socket; ends the command where that cannot be done."""
    with outside(), ExitStack() as stack:
        if names and debug:
            stop("--debug: files or the sidecar? leave one of them out", USAGE)
        if not names:
            yield [sidecar(settings(debug, config))]
            return
        found: list[Source] = []
        for name in names:
            found.append(_source(name, config))
            stack.callback(found[-1].close)
        yield ordered(found)


def ordered(sources: list[Source]) -> list[Source]:
    """Return sources in the order in which they are read."""
    files = [source for source in sources if isinstance(source, FileSource)]
    return [*in_order(files)] if len(files) == len(sources) else sources


def _source(name: str, config: Path | None) -> Source:
    """Open one source by its name.

    Raises:
        ConfigError: it cannot be read.
    """
    scheme, separator, _ = name.partition("://")
    if not separator:
        path = name.removeprefix("file:")
        return SpoolSource(path) if path != STDIN and Path(path).is_dir() else FileSource(path)
    if scheme.startswith("kafka"):
        raise ConfigError(
            "records in Kafka are read by `kcat -C -e -b HOST:PORT -t TOPIC | authz logs search -`"
        )
    if scheme not in ("redis", "rediss"):
        raise ConfigError(
            f"`{visible(name)[:60]}` is no source; name files, a spool directory, redis://HOST:PORT/DB/STREAM,"
            " or none for the sidecar that runs here"
        )
    return _stream(name, config)


def _stream(name: str, config: Path | None) -> Source:
    from authz.history.in_redis import RedisSource, Secrets  # 10 MiB, and a tenth of a second

    address, record = parse_sink(name), settings(None, config).record
    password = record.record_redis_password
    return RedisSource(
        address,
        Secrets(
            record.record_redis_user,
            password.get_secret_value().decode("utf-8", "surrogateescape") if password else "",
            str(record.record_ca or ""),
            str(record.record_cert or ""),
            str(record.record_key or ""),
            record.record_timeout_s,
        ),
    )


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
    try:
        reply = door.ask(address, f"/logs?{query}", _PAGE_MAX_BYTES)
    except ConfigError as error:
        raise ConfigError(f"{error} Or name files of records") from None
    return door.told(address, reply, page_from, "tells no records; is it `serve --debug`, of this version?")

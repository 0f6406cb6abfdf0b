"""`authz attack`: the adversarial suite, against any Envoy or ext_authz server that its owner wants tried."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from rich.console import Console

from authz.attack.aim import Aim, parse_place
from authz.attack.case import Result, Wire
from authz.attack.report import Report, report
from authz.attack.run import Pace, preflight, run
from authz.attack.suite import Choice, check_classes, suite
from authz.attack.target import Target, allowed_address, opened
from authz.cli.attack_report import print_json, print_list, print_table
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError, NotStarted

_USAGE = 2
_CANNOT_RUN = 3
_VERSIONS = {"1": (Wire.HTTP1,), "2": (Wire.HTTP2,), "both": (Wire.HTTP1, Wire.HTTP2)}

_Many = list[str] | None
_Read = TypeVar("_Read")


def command(
    envoy: Annotated[str, typer.Option(metavar="HOST:PORT", help="A listener of Envoy.")] = "",
    check: Annotated[
        str, typer.Option(metavar="unix:PATH|HOST:PORT", help="An ext_authz server, asked directly by gRPC.")
    ] = "",
    host: Annotated[str, typer.Option(help="The host that requests name.")] = "localhost",
    protected: Annotated[
        str, typer.Option(metavar="PATH", help="A path that needs a credential.")
    ] = "/admin",
    open_: Annotated[str, typer.Option("--open", metavar="PATH", help="A path that needs none.")] = "",
    key: Annotated[
        str,
        typer.Option(
            metavar="VARIABLE",
            help="The environment variable that holds a good credential; `-`: a line of standard input.",
        ),
    ] = "",
    key_in: Annotated[
        _Many,
        typer.Option(
            metavar="PLACE",
            help="Where credentials stand: header:x-api-key (default), header:authorization:Bearer,"
            " cookie:NAME or query:NAME. Repeat for more; the good one is sent in the first.",
        ),
    ] = None,
    dead_key: Annotated[
        _Many, typer.Option(metavar="VARIABLE", help="As --key, for a credential that was taken back.")
    ] = None,
    identity_header: Annotated[
        _Many, typer.Option(metavar="NAME", help="A header that only the authorization server may set.")
    ] = None,
    limited: Annotated[
        str,
        typer.Option(metavar="PATH=N", help="A path that the good credential gets N times, then no more."),
    ] = "",
    echo: Annotated[
        bool, typer.Option("--echo", help="The upstream answers with what it saw: JSON, see the manual.")
    ] = False,
    windows_upstream: Annotated[
        bool, typer.Option("--windows-upstream", help="The upstream may read paths as Windows reads names.")
    ] = False,
    http: Annotated[str, typer.Option(metavar="1|2|both", help="Versions of HTTP for --envoy.")] = "both",
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS to --envoy.")] = False,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="The authority for --tls, as PEM.")] = None,
    class_: Annotated[
        _Many, typer.Option("--class", metavar="NAME", help="Only this class; repeat for more.")
    ] = None,
    skip_class: Annotated[_Many, typer.Option(metavar="NAME", help="Not this class.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same spellings.")] = 1,
    spellings: Annotated[int, typer.Option(min=8, max=100_000, help="How many a generator makes.")] = 200,
    budget: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="For the whole run.")] = 120.0,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, metavar="SECONDS", help="For one answer.")] = 5.0,
    jobs: Annotated[int, typer.Option(min=1, max=32, help="Cases under way at once.")] = 8,
    huge: Annotated[
        bool, typer.Option("--huge", help="Also messages of hundreds of MiB, which may end the server.")
    ] = False,
    authorized_for: Annotated[
        str,
        typer.Option(
            metavar="HOST",
            help="For a target that is not this machine: its name once more. With it you say that its"
            " owner lets you attack it.",
        ),
    ] = "",
    list_: Annotated[bool, typer.Option("--list", help="Show the classes, and end.")] = False,
    output: Annotated[str, typer.Option(metavar="table|json")] = "table",
) -> None:
    """Attack an authorization server, or the Envoy before it.

    The report says what got through.

    Exit codes: 0 everything held, 1 something did not, 2 usage, 3 it could not be tried, or proves nothing.
    """
    places = _usage(lambda: tuple(map(parse_place, key_in or ["header:x-api-key"])))
    path, tokens = _usage(lambda: _limit(limited))
    aim = Aim(
        host=host.encode(),
        protected=_usage(lambda: _path("--protected", protected)),
        open=_usage(lambda: _path("--open", open_)) if open_ else b"",
        places=places,
        token=_usage(lambda: _secret("--key", key)) if key else b"",
        dead=_usage(lambda: tuple(_secret("--dead-key", name) for name in dead_key or ())),
        identity=tuple(name.lower().encode() for name in identity_header or ()),
        windows=windows_upstream,
        limited=path,
        tokens=tokens,
    )
    choice = Choice(
        _usage(lambda: check_classes(class_ or ())),
        _usage(lambda: check_classes(skip_class or ())),
        seed,
        spellings,
        huge,
    )
    if list_:
        print_list(list(suite(aim, choice)), output)
        return
    target = _usage(lambda: _target(envoy, check, authorized_for, http, output, tls=tls, ca=ca))
    target = replace(target, timeout_s=timeout, echo=echo)
    told = _tried(target, aim, choice, Pace(budget, jobs))
    (print_json if output == "json" else print_table)(told)
    raise typer.Exit(1 if told.findings else 0 if told.whole and told.grounded else _CANNOT_RUN)


def _tried(target: Target, aim: Aim, choice: Choice, pace: Pace) -> Report:
    """Run the suite, with a line of progress where somebody looks."""
    console = Console(stderr=True, highlight=False)
    began = time.monotonic()
    try:
        with opened(target, aim) as doors, console.status("looking at the target") as status:
            preflight(doors, aim, echo=target.echo)

            def tell(result: Result) -> None:
                status.update(f"trying {result.case.group}")

            results = run(suite(aim, choice), doors, aim, pace, echo=target.echo, tell=tell)
    except (NotStarted, ConfigError) as fault:
        _end(str(fault), _CANNOT_RUN)
    return report(results, aim, target.url, choice.seed, time.monotonic() - began)


def _target(
    envoy: str, check: str, authorized_for: str, http: str, output: str, *, tls: bool, ca: Path | None
) -> Target:
    if not envoy and not check:
        raise ConfigError("there is nothing to attack: name --envoy HOST:PORT, --check unix:PATH or both")
    if http not in _VERSIONS:
        raise ConfigError(f"--http `{http}`: write 1, 2 or both")
    if ca is not None and not tls:
        raise ConfigError("--ca: it is for --tls alone; give both or neither")
    if output not in ("table", "json"):
        raise ConfigError(f"--output `{output}`: write table or json")
    address = allowed_address(envoy, authorized_for) if envoy else None
    if address is not None and not isinstance(address, TcpAddress):
        raise ConfigError(f"--envoy `{envoy}`: write HOST:PORT")
    server = allowed_address(check, authorized_for) if check else None
    return Target(address, server, _VERSIONS[http], tls, ca)


def _path(flag: str, text: str) -> bytes:
    if text == "/":
        raise ConfigError(f"{flag} `/`: name a path with a name in it, like /admin: spellings are made of it")
    plain = text.startswith("/") and text.isascii() and text.isprintable() and len(text) > 1
    if not plain or any(letter in text for letter in "?#%;\\ ") or "//" in text:
        raise ConfigError(f"{flag} `{text}`: name a plain path like /admin, without query and escapes")
    return text.rstrip("/").encode()


def _limit(text: str) -> tuple[bytes, int]:
    path, _, number = text.partition("=")
    if not text:
        return b"", 0
    if not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise ConfigError(f"--limited `{text}`: write a path and a number up to 1000, like /report=10")
    return _path("--limited", path), int(number)


def _secret(flag: str, name: str) -> bytes:
    """Read a credential. SECURITY: never from the command line, which every process of a machine can read."""
    value = sys.stdin.readline().rstrip("\r\n") if name == "-" else os.environ.get(name, "")
    if not value:
        where = "standard input holds no line" if name == "-" else f"the environment has no variable `{name}`"
        raise ConfigError(f"{flag}: {where}; the flag names a variable, never the credential itself")
    return value.encode()


def _usage(read: Callable[[], _Read]) -> _Read:
    try:
        return read()
    except ConfigError as fault:
        _end(str(fault), _USAGE)


def _end(message: str, code: int) -> NoReturn:
    typer.echo(f"authz attack: {message}", err=True)
    raise typer.Exit(code)

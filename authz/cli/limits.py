"""`authz limits`: live buckets. Who is refused, by what and until when; who draws most; let them go on."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from authz.cli import limits_text
from authz.cli.endings import CANNOT_RUN, USAGE, stop, usage
from authz.cli.limits_asked import Asked, Wanted
from authz.cli.options import Overrides, Scopes, SettingsFile
from authz.lookout.looking import Look
from authz.lookout.standing import Standing
from authz.model.limit import document_of

app = typer.Typer(
    no_args_is_help=True, help="Live buckets of limits: see who is refused, and let them go on."
)

VISITS_MAX = 1_000_000  # keys that one search looks at: 15 to 30 s, 0.3 ms of Redis at a time
_REMEMBERED = "sidecars remember refusals for a second at most"

_Policies = Annotated[
    list[Path] | None,
    typer.Option(
        "--policies", metavar="DIR", help="Directory of policy files; repeat. Default: as for `serve`."
    ),
]
_Limit = Annotated[str, typer.Option("--limit", metavar="NAME", help="Buckets of this limit alone.")]
_Key = Annotated[
    str,
    typer.Option(
        "--key", metavar="NAME-OR-ID", help="Those that this API key draws from, its customer's too."
    ),
]
_Customer = Annotated[
    str, typer.Option("--customer", metavar="NAME", help="Those of this customer and of each of its keys.")
]
_Namespace = Annotated[
    str,
    typer.Option(
        "--customers", metavar="NAMESPACE", help="Name space of the customer, where several have it."
    ),
]
_Address = Annotated[str, typer.Option("--address", metavar="IP", help="Those of this client's network.")]
_Per = Annotated[
    list[str] | None,
    typer.Option(
        "--per",
        metavar="VALUE",
        help="The one with these values of `per`; repeat in its order; with --limit.",
    ),
]
_Debug = Annotated[
    str | None,
    typer.Option(
        "--debug", metavar="unix:PATH", help="Debug socket of the sidecar. Default: as for `serve`."
    ),
]
_Visits = Annotated[
    int, typer.Option("--visits", metavar="N", min=1, help="Keys of Redis that a search looks at, at most.")
]


class Output(StrEnum):
    """Who reads the answer."""

    TABLE = "table"
    JSON = "json"


_Output = Annotated[Output, typer.Option("--output", help="A table for people, JSON for machines.")]

_WHERE = """
    With REDIS_URL, buckets are read from Redis, by the settings of `serve`; what a sidecar here decided while
    Redis was away is shown as well. Without it they are in the memory of the sidecar, all of its workers.

    Exit codes: 0 done, whoever is refused; 1 the policy set is invalid; 2 usage; 3 Redis or the sidecar
    cannot be reached."""


@app.callback()
def _group() -> None:
    """Live buckets of limits: see who is refused, and let them go on."""


def show(
    policies: _Policies = None,
    limit: _Limit = "",
    key: _Key = "",
    customer: _Customer = "",
    customers: _Namespace = "",
    address: _Address = "",
    per: _Per = None,
    debug: _Debug = None,
    visits: _Visits = VISITS_MAX,
    scopes: Scopes = None,
    overrides: Overrides = None,
    config: SettingsFile = None,
    output: _Output = Output.TABLE,
) -> None:
    """Show whether somebody is refused, by which bucket, and until when."""
    asked = Asked.of(policies, scopes, overrides, debug, config)
    wanted = Wanted(limit, key, customer, customers, address, per or [])
    with asked.lookout(visits) as lookout:
        targets = asked.chosen(wanted)
        look = lookout.find(targets)
    look.notes += asked.said_beside()
    if look.trouble:
        look.notes += limits_text.without_buckets([target.limit for target in targets])
    _print(look, asked, output, verdict=True)
    _end(look)


def top(
    policies: _Policies = None,
    limit: _Limit = "",
    count: Annotated[
        int, typer.Option("--count", metavar="N", min=1, max=1000, help="So many buckets.")
    ] = 20,
    debug: _Debug = None,
    visits: _Visits = VISITS_MAX,
    scopes: Scopes = None,
    overrides: Overrides = None,
    config: SettingsFile = None,
    output: _Output = Output.TABLE,
) -> None:
    """Show the buckets from which most of the burst is drawn."""
    asked = Asked.of(policies, scopes, overrides, debug, config)
    if limit:
        with usage():
            asked.census.limit(limit)
    with asked.lookout(visits) as lookout:
        look = lookout.fullest(limit, count)
    _print(look, asked, output, verdict=False)
    _end(look)


def reset(
    policies: _Policies = None,
    limit: _Limit = "",
    key: _Key = "",
    customer: _Customer = "",
    customers: _Namespace = "",
    address: _Address = "",
    per: _Per = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needed where no terminal is.")] = False,
    debug: _Debug = None,
    visits: _Visits = VISITS_MAX,
    scopes: Scopes = None,
    overrides: Overrides = None,
    config: SettingsFile = None,
) -> None:
    """Fill buckets up, so that whoever draws from them goes on at once.

    Buckets that others draw from too, whoever is named, are left alone unless --limit names them. A sidecar
    remembers for at most a second that it refused somebody.
    """
    asked = Asked.of(policies, scopes, overrides, debug, config)
    wanted = Wanted(limit, key, customer, customers, address, per or [])
    with asked.lookout(visits) as lookout:
        targets = asked.chosen(wanted)
        look = lookout.find(targets, held=True)
        drawn = [match for match in look.matches if asked.directory.of(match).fullness > 0.0]
        chosen = [match for match in drawn if lookout.may_reset(match, named=bool(limit))]
        rows = lookout.seen(chosen)
        _tell([*look.notes, *_left(len(drawn) - len(chosen))])
        if not rows and not look.trouble:
            typer.echo("nothing to reset: every bucket is full")
        elif _agreed(rows, yes=yes):
            meant = [target for target in targets if limit or not target.shared]
            removed = lookout.reset(chosen, meant)
            other = "those of other sidecars have to be filled up there" if look.trouble else _REMEMBERED
            typer.echo(f"{_buckets(removed)} filled up; {other}")
    _end(look)


for _command in (show, top, reset):
    _command.__doc__ = f"{_command.__doc__}\n{_WHERE}"
app.command(epilog="Example: authz limits show --policies policies --customer acme")(show)
app.command(epilog="Example: authz limits top --policies policies --limit per-key")(top)
app.command(epilog="Example: authz limits reset --policies policies --key acme-reporting")(reset)


def _print(look: Look, asked: Asked, output: Output, *, verdict: bool) -> None:
    now = datetime.now(UTC)
    if output is Output.JSON:
        limits = asked.census.limits
        rows = [
            limits_text.as_json(row, limits.get(document_of(row.bucket[0] or "")), now) for row in look.rows
        ]
        told: dict[str, Any] = {"buckets": rows, "notes": look.notes}
        if verdict:
            told = {"refused": any(map(limits_text.refused, look.rows)), **told}
        if look.trouble:
            told["trouble"] = look.trouble
        typer.echo(json.dumps(told, indent=2))
        return
    if verdict:
        for line in limits_text.verdict(look.rows, now, whole=not look.trouble):
            typer.echo(line)
        typer.echo()
    if look.rows:
        for line in limits_text.table(look.rows):
            typer.echo(line)
    else:
        typer.echo("no bucket is drawn from")
    _tell(look.notes)


def _tell(notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _left(count: int) -> list[str]:
    if not count:
        return []
    return [f"{_buckets(count)} left alone: others draw from them too, or may; --limit names a shared one"]


def _buckets(count: int) -> str:
    return "1 bucket is" if count == 1 else f"{count} buckets are"


def _agreed(rows: list[Standing], *, yes: bool) -> bool:
    for line in limits_text.table(rows) if rows else ():
        typer.echo(line)
    if yes:
        return True
    if not _is_terminal():
        stop("no terminal is here to ask: say --yes to fill these buckets up", USAGE)
    return typer.confirm(f"Fill {len(rows)} up?" if rows else "Have the sidecar forget what it saw of them?")


def _is_terminal() -> bool:
    """Whether somebody can be asked; tests replace this."""
    return sys.stdin.isatty()


def _end(look: Look) -> None:
    """Stop with 3 where somebody who was asked did not answer."""
    if look.trouble:
        stop(look.trouble, CANNOT_RUN)

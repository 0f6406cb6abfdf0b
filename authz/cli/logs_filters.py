"""What records are filtered by: the same options for every command that lists some."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer

from authz.cli.endings import outside, usage
from authz.cli.logs_asked import settings
from authz.history.line import Kind
from authz.history.question import Question, chosen, moment_of, statuses
from authz.model.errors import ConfigError
from authz.model.reason import Detail, Outcome, Reason
from authz.model.text import visible
from authz.record.pseudonym import PREFIX
from authz.request.client import direct

_AS_GIVEN = ("policy", "rule", "key", "customer", "request_id", "sidecar")
_HIDDEN = ("key", "customer", "address")  # what may stand in records as a pseudonym
_KINDS = (Kind.DECISION, Kind.GAP, Kind.EVENT)


def _one(option: str, metavar: str, help_: str) -> Any:
    return Annotated[str, typer.Option(option, metavar=metavar, help=help_)]


def _several(option: str, metavar: str, help_: str) -> Any:
    return Annotated[list[str] | None, typer.Option(option, metavar=metavar, help=f"{help_} Repeat.")]


_FILTERS: Mapping[str, Any] = {
    "since": _one("--since", "TIME", "From then on: RFC 3339, or `15m`, `2h`, `3d` ago."),
    "until": _one("--until", "TIME", "Before then."),
    "outcome": _one("--outcome", "WORD", "`allow` or `deny`."),
    "reason": _several("--reason", "REASON", "With this reason."),
    "detail": _several("--detail", "DETAIL", "With this detail."),
    "status": _several("--status", "N", "With this status, or `4xx`."),
    "policy": _one("--policy", "NAME", "Decided by this policy."),
    "rule": _one("--rule", "NAME", "Decided by this rule: RULE or POLICY/RULE."),
    "key": _one("--key", "ID", "Of this API key, by its id."),
    "customer": _one("--customer", "NAME", "Of this customer."),
    "address": _one("--address", "IP", "Of this client."),
    "method": _one("--method", "M", "With this method."),
    "host": _one("--host", "HOST", "For this host."),
    "path": _one("--path", "PATH", "For this path; `/a/**`: and all below it; `/a*`: all that begin so."),
    "request_id": _one("--request-id", "ID", "With this `x-request-id`."),
    "trace_id": _one("--trace-id", "ID", "Of this trace."),
    "sidecar": _one("--sidecar", "NAME", "Of this sidecar."),
    "kind": _several("--kind", "KIND", "`decision`, `gap` or `event`; default: all."),
}


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes filters besides its own options, and is called with a `Question` first."""

    def run(**given: Any) -> None:
        wanted = question({name: given.pop(name) for name in _FILTERS}, config=given.get("config"))
        command(wanted, **given)

    _, sources, *own = inspect.signature(command, eval_str=True).parameters.values()
    filters = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=_default(kind), annotation=kind)
        for name, kind in _FILTERS.items()
    ]
    parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in (sources, *filters, *own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # which `inspect` reads
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run


def _default(kind: Any) -> str | None:
    return "" if kind.__origin__ is str else None


def question(given: Mapping[str, Any], now: datetime | None = None, config: Path | None = None) -> Question:
    """Return what is asked; ends the command where that cannot be meant."""
    now = now or datetime.now(UTC)
    with usage():
        since, until = moment_of("--since", given["since"], now), moment_of("--until", given["until"], now)
        if since and until and since >= until:
            raise ConfigError("--until: is not after --since, so that nothing lies between")
        return Question(
            since=since,
            until=until,
            outcome="".join(chosen("--outcome", filter(None, [given["outcome"]]), list(Outcome))),
            reasons=chosen("--reason", given["reason"] or (), list(Reason)),
            details=chosen("--detail", given["detail"] or (), list(Detail)),
            statuses=statuses("--status", given["status"] or ()),
            kinds=frozenset(map(Kind, chosen("--kind", given["kind"] or (), list(_KINDS)))),
            method=given["method"].upper(),
            host=given["host"].lower(),
            path=_path(given["path"]),
            trace_id=given["trace_id"].lower(),
            address=_address(given["address"]),
            pseudonym_key=_pseudonym_key(config) if any(given[name] for name in _HIDDEN) else b"",
            **{name: given[name] for name in _AS_GIVEN},
        )


def _pseudonym_key(config: Path | None) -> bytes:
    """Return the key with which names stand in records as pseudonyms; nothing where none is set."""
    with outside():
        key = settings(None, config).record.record_pseudonym_key
    return key.get_secret_value() if key is not None else b""


def _address(text: str) -> str:
    """Return an address as records have it, whatever its spelling; a pseudonym as it is."""
    if not text or text.startswith(PREFIX):
        return text
    address = direct(text, 0).address
    if not address:
        raise ConfigError(
            f"--address: `{visible(text)[:60]}` is no address; write one such as 203.0.113.7, or a pseudonym"
        )
    return address


def _path(path: str) -> str:
    if path and not path.startswith(("/", "*")):
        raise ConfigError(f"--path: `{visible(path)[:60]}` begins with no `/`, as every path does")
    if "?" in path:
        raise ConfigError("--path: records hold no query; leave out the `?` and what follows")
    return path

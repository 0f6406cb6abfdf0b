"""`authz policy ...`: what people and pipelines ask about policy files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import typer

from authz.cli import policy_diff, policy_explain, policy_fmt, policy_test
from authz.cli.colour import coloured
from authz.cli.options import Overrides, Scopes, SetDirectories
from authz.cli.policyset import PartFault, PolicySet, read_set
from authz.model.errors import PolicyError
from authz.policy.document import json_schema
from authz.policy.host import parse_host
from authz.policy.integration import NAMES, Input, Proxy
from authz.policy.lint.lint import lint
from authz.policy.loaded import Loaded
from authz.policy.needs import Integration, unsendable
from authz.policy.newer import need_newer
from authz.snapshot.build import Surroundings
from authz.snapshot.parts import PLATFORM
from authz.snapshot.sources import Directories

app = typer.Typer(no_args_is_help=True, help="Policy files: check, test, explain, compare and format them.")


class Output(StrEnum):
    """Who reads the answer."""

    TEXT = "text"
    JSON = "json"


_Output = Annotated[Output, typer.Option("--output", help="Text for people, JSON for machines.")]


@app.callback()
def _group() -> None:
    """Keep the group a group while it has few commands."""


class _Verdict(NamedTuple):
    found: PolicySet
    warnings: list[PolicyError]

    @property
    def faults(self) -> list[PartFault]:
        return self.found.faults


def _judge(
    named: Directories, served: Sequence[str], around: Surroundings, integration: Integration | None
) -> _Verdict:
    found = read_set(named, around, integration)
    if found.built is None:
        return _Verdict(found, found.warnings + found.of_proxy)
    warnings = found.of_proxy + lint(found.loaded, found.compiler, served)
    if found.overrides.policies:
        warnings += lint(found.overrides, found.compiler, served, overrides=True)
    return _Verdict(found, warnings)


@app.command()
def validate(
    directories: SetDirectories,
    scopes: Scopes = None,
    overrides: Overrides = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 for warnings, too; docs/warnings.md explains each.")
    ] = False,
    hosts: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Hosts that `serve --hosts` will name; repeat. Default: any."),
    ] = None,
    clustered: Annotated[
        bool, typer.Option("--clustered", help="Where REDIS_URL will name a Cluster: limits must fit there.")
    ] = False,
    proxy: Annotated[
        Proxy | None,
        typer.Option("--proxy", help="Whose Envoy will ask: refuse what it cannot send; docs/proxies.md."),
    ] = None,
    sends: Annotated[
        list[Input] | None,
        typer.Option("--sends", help="What that Envoy is set to send, though not by itself; repeat."),
    ] = None,
    output: _Output = Output.TEXT,
) -> None:
    """Check that a policy set could be served, and say why not.

    All directories together are one set, so name them all. Tests are not run: see `authz policy test`.
    Warnings say what deserves a look.

    Exit codes: 0 it could be served; 1 it has faults, or with --strict warnings; 2 usage.
    """
    named = Directories(directories, scopes or (), overrides or ())
    integration = _integration(proxy, sends or [])
    verdict = _judge(named, _patterns(hosts or []), Surroundings(clustered=clustered), integration)
    if output is Output.JSON:
        typer.echo(json.dumps(_as_json(verdict), ensure_ascii=False))
    else:
        _print(verdict)
    raise typer.Exit(1 if verdict.faults or (strict and verdict.warnings) else 0)


def _patterns(hosts: list[str]) -> list[str]:
    for host in hosts:
        try:
            parse_host(host)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--hosts") from None
    return hosts


def _integration(proxy: Proxy | None, sends: list[Input]) -> Integration | None:
    if proxy is None:
        if sends:
            raise typer.BadParameter("name the Envoy, too: --proxy", param_hint="--sends")
        return None
    for one in unsendable(proxy, sends):
        what = f"{NAMES[proxy]} cannot send `{one}`, whatever is set: leave it out"
        raise typer.BadParameter(what, param_hint="--sends")
    return Integration(proxy, frozenset(sends))


app.command("test")(policy_test.command)
app.command("explain")(policy_explain.command)
app.command("diff")(policy_diff.command)
app.command("fmt")(policy_fmt.command)


@app.command()
def schema() -> None:
    """Write the JSON Schema of policy files, for editors."""
    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _print(verdict: _Verdict) -> None:
    for warning in verdict.warnings:
        told = f"{warning.place}: {coloured('warning:', 'yellow')} {warning.what} [{warning.code}]"
        typer.echo(told, err=True)
    for fault in verdict.faults:
        place, what = fault.fault.place, fault.fault.what
        part = f" [{fault.part}]" if fault.part != PLATFORM else ""
        typer.echo(f"{place}: {coloured(what, 'red')}{part}", err=True)
    if not verdict.faults:
        loaded = verdict.found.loaded
        shadow = f", {_in_shadow(loaded)} of them in shadow" if _in_shadow(loaded) else ""
        counts = _counts(verdict.found)
        typer.echo(f"{_summary(counts)}{shadow}, revision {loaded.revision}")


def _counts(found: PolicySet) -> dict[str, int]:
    loaded = found.loaded
    return {
        "policies": len(loaded.policies),
        "sites": len(loaded.sites),
        "providers": len(loaded.providers),
        "keys": len(loaded.keys),
        "customers": len(loaded.customers),
        "limits": len(loaded.limits),
        "tests": len(loaded.tests),
        "scopes": len(loaded.scopes),
        "overrides": len(found.overrides.policies),
    }


def _in_shadow(loaded: Loaded) -> int:
    modes = [policy.spec.mode for policy in loaded.policies] + [limit.spec.mode for limit in loaded.limits]
    return modes.count("shadow")


def _summary(counts: dict[str, int]) -> str:
    return ", ".join(
        f"{count} {_SINGULAR[kind] if count == 1 else kind}" for kind, count in counts.items() if count
    )


_SINGULAR = {
    "policies": "policy",
    "sites": "site",
    "providers": "provider",
    "keys": "key",
    "customers": "customer",
    "limits": "limit",
    "tests": "test",
    "scopes": "scope",
    "overrides": "override",
}


def _as_json(verdict: _Verdict) -> dict[str, Any]:
    loaded = verdict.found.loaded
    known = {} if verdict.faults else {"revision": loaded.revision}
    return {
        "valid": not verdict.faults,
        "needs_newer": need_newer([fault.fault for fault in verdict.faults]),
        **known,
        "documents": _counts(verdict.found),
        "in_shadow": _in_shadow(loaded),
        "errors": [{"part": fault.part, **_row(fault.fault)} for fault in verdict.faults],
        "warnings": [{"code": warning.code, **_row(warning)} for warning in verdict.warnings],
    }


def _row(fault: PolicyError) -> dict[str, str | int]:
    place = fault.place
    return {"file": place.file, "line": place.line, "column": place.column, "what": fault.what}

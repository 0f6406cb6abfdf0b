"""`authz key`: make, rotate, revoke, verify and list API keys.

SECURITY: a token is printed once, alone, on standard output, after its document is safely written. It is in
no message, no error and no file.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from authz.cli import keychange, keyfile
from authz.cli.keyset import HEADINGS, KeySet, Row, read_keys
from authz.config import settings
from authz.config.rooms import IdentitySettings
from authz.identity.apikey import new_token
from authz.identity.keyring import Key, Peppers
from authz.model.errors import AuthzError, ConfigError, SnapshotRejected
from authz.model.moment import microseconds
from authz.model.reason import Detail

app = typer.Typer(no_args_is_help=True, help="API keys: make, rotate, revoke, verify and list them.")

TOKEN_INPUT_MAX_CHARS = 16 * 1024  # whatever is longer is no token
_UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,9})(s|min|h|d|w)")
_SPAN_MAX_S = 100 * 366 * 86_400

_File = Annotated[Path, typer.Argument(metavar="FILE", help="File that holds exactly one ApiKey.")]
_Policies = Annotated[
    list[Path], typer.Option("--policies", metavar="DIR", help="Directory of documents; repeat.")
]


class Output(StrEnum):
    """Who reads the answer."""

    TABLE = "table"
    JSON = "json"


_Output = Annotated[Output, typer.Option("--output", help="A table for people, JSON for machines.")]


@app.callback()
def _group() -> None:
    """API keys: make, rotate, revoke, verify and list them."""


@app.command(
    epilog="Example: authz key create --provider partner-keys --customer acme --scope items:read"
    " --expires-in 90d --out keys/acme.yaml"
)
def create(
    provider: Annotated[str, typer.Option(metavar="NAME", help="IdentityProvider that the key belongs to.")],
    customer: Annotated[str, typer.Option(metavar="NAME", help="Who will hold the key.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where its document is written; must be new.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the document; default: the file's name.")
    ] = None,
    scope: Annotated[list[str] | None, typer.Option(metavar="S", help="A scope; repeat.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; repeat.")] = None,
    expires_in: Annotated[
        str | None,
        typer.Option(metavar="90d", help="Lifetime: a number and s, min, h, d or w; default: no end."),
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="A network it may be used from; repeat.")
    ] = None,
) -> None:
    """Make a key: its document into FILE, its token to standard output.

    The token is printed once, and alone. The pepper is read from API_KEY_SALT, the same that the sidecar has.
    """
    _check_name(out)
    now = _now()
    lifetime = _span(expires_in, "--expires-in") if expires_in is not None else None
    if lifetime == timedelta(0):
        _stop(2, "--expires-in: `0` makes a key that was never valid; write a lifetime such as `90d`")
    with _answers():
        identity = _identity_settings()
        token = new_token(identity.key_brand, identity.key_env)
        spec: dict[str, Any] = {
            "id": token.key_id,
            "provider": provider,
            "customer": customer,
            "scopes": scope,
            "labels": _labels(label or []),
            "expiresAt": keychange.written(now + lifetime) if lifetime else None,
            "addresses": address,
            "secrets": [keychange.secret_of(token, 1, _current(identity))],
        }
        keyfile.create(out, _checked_flags(keyfile.new(name or out.stem, spec)))
    typer.echo(token.render())


@app.command(epilog="Example: authz key rotate keys/acme.yaml --grace 24h")
def rotate(
    file: _File,
    grace: Annotated[
        str, typer.Option(metavar="24h", help="How long the old secret stays good; 0 ends it at once.")
    ] = "24h",
) -> None:
    """Give a key a new secret, and print its new token.

    The token is printed once, and alone. The old one stays good for the grace period, so that its holder
    can change over. Sidecars know the new one as soon as they have the file: bring it there before you hand
    the token out.
    """
    now, overlap = _now(), _span(grace, "--grace")
    with _answers():
        identity = _identity_settings()
        document = keyfile.read(file)
        data: dict[str, Any] = document.data  # type: ignore[assignment]  # a document is a mapping
        refused = keychange.rotation_refused(data["spec"], now, overlap)
        if refused:
            _stop(1, f"{file}: {refused}")
        token = new_token(identity.key_brand, identity.key_env, data["spec"]["id"])
        data["spec"] = keychange.rotated(data["spec"], now, overlap, token, _current(identity))
        keyfile.replace(file, keyfile.checked(data))
    typer.echo(
        f"{file}: key {token.key_id} is rotated in this file; bring it to the sidecars before you hand out"
        " the new token: until they have it they know the old one alone",
        err=True,
    )
    typer.echo(token.render())


@app.command(epilog="Example: authz key revoke keys/acme.yaml")
def revoke(file: _File) -> None:
    """End a key: `enabled: false` in its document.

    Sidecars refuse it as soon as they have the file. One whose policy set is broken keeps the last good one,
    and with it the key: `/ready` says so. Deny the key in --overrides then; docs/operations.md has the rule.
    """
    with _answers():
        data: dict[str, Any] = keyfile.read(file).data  # type: ignore[assignment]  # a document is a mapping
        data["spec"]["enabled"] = False
        keyfile.replace(file, keyfile.checked(data))
    typer.echo(
        f"{file}: key {data['spec']['id']} is revoked in this file; a sidecar refuses it once it has the"
        " file, unless /ready says that its set is `rejected`",
        err=True,
    )


@app.command(epilog="Example: authz key verify --policies policies --policies keys < token.txt")
def verify(
    policies: _Policies,
    address: Annotated[
        str | None, typer.Option(metavar="IP", help="As if presented from there; default: from a good place.")
    ] = None,
    output: _Output = Output.TABLE,
) -> None:
    """Tell whether the token on standard input is good, and why not.

    Exit code 1 if it is not.

    For operators: clients are never told the cause.
    """
    with _answers():
        identity = _identity_settings()
        _current(identity)  # without it no answer would be true
        known = read_keys(policies, _peppers(identity), identity.key_brand, identity.key_env)
        verdict = known.verify(_token_on_stdin(), microseconds(_now()), address)
    if isinstance(verdict, Key):
        _tell_good(known, verdict, output)
        return
    typer.echo(
        json.dumps({"valid": False, "cause": verdict})
        if output is Output.JSON
        else f"not valid: {_CAUSES.get(verdict, verdict)}"
    )
    raise typer.Exit(1)


@app.command(name="list", epilog="Example: authz key list --policies policies --policies keys --output json")
def list_keys(policies: _Policies, output: _Output = Output.TABLE) -> None:
    """List every key of a set: whose it is, and how it stands.

    Whether its pepper is here is told where API_KEY_SALT is set.
    """
    with _answers():
        identity = _identity_settings()
        known = read_keys(policies, _peppers(identity), identity.key_brand, identity.key_env)
    rows = known.rows(microseconds(_now()))
    if output is Output.JSON:
        typer.echo(json.dumps([row.as_json() for row in rows]))
    else:
        _table(rows)


_CAUSES = {
    Detail.CREDENTIAL_MALFORMED: "its form or checksum is wrong: it was not copied whole",
    Detail.CREDENTIAL_NOT_OWNED: "it is not of this brand and environment",
    Detail.KEY_UNKNOWN: "no document has this key id",
    Detail.KEY_SECRET_WRONG: "the key is known, but not this secret: it was rotated out, or never was",
    Detail.KEY_REVOKED: "its document says `enabled: false`",
    Detail.KEY_EXPIRED: "it has expired",
    Detail.KEY_NOT_YET_VALID: "its `notBefore` is still to come",
    Detail.KEY_ADDRESS: "it may not be used from that address",
    Detail.CUSTOMER_DISABLED: "its customer's document says `enabled: false`",
    Detail.PEPPER_MISSING: "it was made with another pepper than API_KEY_SALT and API_KEY_SALT_PREVIOUS",
}


def _tell_good(known: KeySet, verdict: Key, output: Output) -> None:
    identity = verdict.identity
    told = {
        "key_id": identity.key_id,
        "name": known.name(identity.key_id),
        "provider": identity.provider,
        "customer": identity.customer,
    }
    if output is Output.JSON:
        typer.echo(json.dumps({"valid": True, **told}))
    else:
        typer.echo("valid: {name} ({key_id}) of customer {customer}, provider {provider}".format(**told))


def _table(rows: list[Row]) -> None:
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextmanager
def _answers() -> Iterator[None]:
    """Turn our exceptions into one line each and an exit code."""
    try:
        yield
    except SnapshotRejected as rejected:
        _stop(1, str(rejected))
    except AuthzError as fault:
        _stop(3, str(fault))


def _stop(code: int, line: str) -> NoReturn:
    typer.echo(line, err=True)
    raise typer.Exit(code)


def _now() -> datetime:
    """Read the clock, in whole seconds; tests replace this."""
    return datetime.fromtimestamp(int(time.time()), UTC)


def _span(text: str, flag: str) -> timedelta:
    """Read a time span; `0` needs no unit."""
    match = _SPAN.fullmatch("0s" if text == "0" else text)
    if match is None:
        _stop(
            2,
            f"{flag}: `{ascii(text)[1:-1][:40]}` is no time span; write one such as `90d` or `30min`",
        )
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > _SPAN_MAX_S:
        _stop(2, f"{flag}: `{text}` is more than a hundred years; write less, or leave it out")
    return timedelta(seconds=seconds)


def _check_name(out: Path) -> None:
    """Refuse a file that a sidecar would skip, or for whose name it would refuse the whole set."""
    name = ascii(str(out))[1:-1]
    if out.name.startswith("."):
        _stop(2, f"--out: `{name}`: a file whose name begins with a dot is not read; leave the dot out")
    if not out.name.endswith(".yaml"):
        _stop(2, f"--out: `{name}`: documents are read from files that end in `.yaml`; name it so")


def _labels(pairs: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key in labels:
            _stop(2, f"--label: `{ascii(pair)[1:-1][:80]}`: write each as `NAME=VALUE`, once")
        labels[key] = value
    return labels


def _checked_flags(data: dict[str, Any]) -> str:
    """Return the text of a new document; its faults are faults of the flags."""
    try:
        return keyfile.checked(data)
    except SnapshotRejected as rejected:
        _stop(2, "\n".join(f"authz key create: {fault.what}" for fault in rejected.faults))


def _identity_settings() -> IdentitySettings:
    return settings.load({}, os.environb).identity


def _peppers(identity: IdentitySettings) -> Peppers:
    current, previous = identity.api_key_salt, identity.api_key_salt_previous
    return Peppers(
        current.get_secret_value() if current else None, previous.get_secret_value() if previous else None
    )


def _current(identity: IdentitySettings) -> bytes:
    pepper = _peppers(identity).current
    if pepper is None:
        raise ConfigError(
            "API_KEY_SALT: is not set; set it to the pepper of your sidecars, or for a new installation to"
            " the output of `openssl rand -base64 48`, and keep it"
        )
    return pepper


def _token_on_stdin() -> str:
    """Read what is presented; the line end that a shell adds is not part of it."""
    text = sys.stdin.buffer.read(TOKEN_INPUT_MAX_CHARS).decode("latin-1")
    if not text.strip():
        _stop(2, "standard input: nothing was given; hand the token over, for example with `< token.txt`")
    return text.removesuffix("\n").removesuffix("\r")

"""`authz serve`: answer Envoy's checks until told to stop."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Protocol

import typer

from authz.config.log import configure
from authz.config.settings import Settings, load

_EPILOG = """\b
Examples:
  authz serve --policies policies --policies keys
  authz serve --policies repo/policies --scopes repo/scopes \\
      --overrides /etc/authz/overrides --state /var/lib/authz/state
  authz serve --policies policies --listen 0.0.0.0:9443 \\
      --tls-cert tls.crt --tls-key tls.key \\
      --tls-client-ca ca.crt --tls-clients 'spiffe://prod/ns/web/sa/*'

API_KEY_SALT in the environment, or a file of that name in --secrets, is the pepper of API keys. Settings
come from authz.toml, then the environment, then these flags; the later wins; all are read once. Files of
policies are followed: a change of them needs no restart. Records go to standard output unless
AUTHZ_RECORD_SINK says otherwise: see docs/sinks.md.

Exit codes: 0 told to stop; 2 usage; 3 a setting, an address, a certificate or the pepper cannot be used; 27
and 70 see docs/operations.md."""


def command(
    policies: Annotated[
        list[Path] | None,
        typer.Option(
            "--policies", metavar="DIR", help="Directory of policy files; repeat: together one set."
        ),
    ] = None,
    scopes: Annotated[
        list[Path] | None,
        typer.Option(
            "--scopes", metavar="DIR", help="Directory of Scope documents: which team may speak about what."
        ),
    ] = None,
    overrides: Annotated[
        list[Path] | None,
        typer.Option(
            "--overrides",
            metavar="DIR",
            help="Directory of deny rules that come before all: the emergency brake.",
        ),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="DIR|off",
            help="Private directory for the last good set, for a restart; default: see docs/settings.md.",
        ),
    ] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="unix:PATH|HOST:PORT",
            help="Where checks are answered. Default: a socket in the runtime directory.",
        ),
    ] = None,
    ops: Annotated[
        str | None,
        typer.Option(
            "--ops", metavar="HOST:PORT|off", help="Health, readiness, metrics. Default: 127.0.0.1:9192."
        ),
    ] = None,
    debug: Annotated[
        str | None,
        typer.Option(
            "--debug",
            metavar="unix:PATH|HOST:PORT|off",
            help="Recent records and live buckets. Default: a socket in the runtime directory.",
        ),
    ] = None,
    trusted_hops: Annotated[
        int | None,
        typer.Option(
            "--trusted-hops", metavar="N", help="How many proxies of ours stand before ours. Default: 0."
        ),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--hosts", metavar="NAME", help="A host that is served here; repeat. Others get 421."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Processes, each with its own socket (authz-0.sock). Default: 1."
        ),
    ] = None,
    transport: Annotated[
        str | None, typer.Option("--transport", metavar="native|grpcio", help="Default: native.")
    ] = None,
    tls_cert: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Our certificate: TCP listeners speak TLS."),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's key.")
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option("--tls-client-ca", metavar="FILE", help="CA whose certificates callers must show."),
    ] = None,
    tls_clients: Annotated[
        list[str] | None,
        typer.Option(
            "--tls-clients", metavar="SPIFFE-ID", help="Whose certificate may ask; repeat. `*`: all."
        ),
    ] = None,
    secrets: Annotated[
        Path | None,
        typer.Option(
            "--secrets", metavar="DIR", help="Files named like the secrets' variables, in place of those."
        ),
    ] = None,
    source_revision: Annotated[
        str | None,
        typer.Option("--source-revision", metavar="TEXT", help="Commit of the documents, for records."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings file. Default: authz.toml, if there."),
    ] = None,
) -> None:
    """Answer Envoy's checks until told to stop."""
    flags = {
        "policies": policies,
        "scopes": scopes,
        "overrides": overrides,
        "state": state,
        "listen": listen,
        "ops": ops,
        "debug": debug,
        "trusted_hops": trusted_hops,
        "hosts": hosts,
        "workers": workers,
        "transport": transport,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "tls_client_ca": tls_client_ca,
        "tls_clients": tls_clients,
        "secrets": secrets,
        "source_revision": source_revision,
    }
    settings = load(flags, os.environb, config)
    configure(settings.log.log_level)
    running = _running(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
    signal.signal(signal.SIGHUP, lambda *_: running.reopen())
    running.run()


class _Running(Protocol):
    """What serves: one process, or several under a supervisor."""

    def run(self) -> None: ...

    def stop(self) -> None: ...

    def reopen(self) -> None: ...


def _running(settings: Settings) -> _Running:
    # Only now: the settings may refuse, what serves is the larger half of the imports, and a supervisor
    # needs little of it.
    from authz.wiring.supported import require_supported

    require_supported(settings)
    if settings.serve.workers > 1:
        from authz.wiring.supervisor import Supervisor

        return Supervisor(settings)
    from authz.wiring.sidecar import Sidecar
    from authz.wiring.watch import LastResort

    return Sidecar(settings, on_tick=LastResort(settings.serve.stuck_after_s).arm)


command.__doc__ = f"{command.__doc__}\n\n{_EPILOG}"

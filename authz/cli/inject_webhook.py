"""`authz inject-webhook`: put the sidecar into labelled pods, as an API server asks for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from authz.cli.inject_options import LogLevel, Ops, Template, Watched, namespace_of, watched_of
from authz.config.log import configure
from authz.model.address import TcpAddress, parse_address
from authz.model.errors import ConfigError

_EPILOG = """\b
Example, as the chart runs it (values `injection: webhook`):
  authz inject-webhook --template /etc/authz/injection/injection.json \\
      --service authz-webhook --secret authz-webhook --configuration authz-webhook.shop \\
      --listen 0.0.0.0:8443 --ops 0.0.0.0:9192 --watch '*'

It makes its certificate itself, keeps it in the Secret, renews it a month before it expires, and writes its
CA into the configuration: see docs/webhook.md. The API server is that of the pod's service account, or else
of KUBECONFIG.

Exit codes: 0 told to stop; 2 usage; 3 the template, an address or the API server cannot be used."""


def command(
    template: Template,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="The Service by which the API server connects.")
    ],
    secret: Annotated[
        str, typer.Option("--secret", metavar="NAME", help="The Secret of the certificate; made if absent.")
    ],
    configuration: Annotated[
        str,
        typer.Option(
            "--configuration", metavar="NAME", help="The MutatingWebhookConfiguration that is to know us."
        ),
    ],
    namespace: Annotated[
        str | None,
        typer.Option("--namespace", metavar="NAME", help="Of Service and Secret. Default: the pod's own."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--name", metavar="NAME", help="A further name or address that the certificate has; repeat."
        ),
    ] = None,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where the API server connects.")
    ] = "0.0.0.0:8443",
    ops: Ops = "127.0.0.1:9192",
    watched: Watched = None,
    drain_s: Annotated[
        float,
        typer.Option("--drain", metavar="SECONDS", min=0, max=600, help="To go on answering after SIGTERM."),
    ] = 5.0,
    log_level: LogLevel = "info",
) -> None:
    """Put the sidecar into labelled pods, as an API server asks for it."""
    configure(log_level)
    # Only now: help needs none of it.
    from authz.admission.keeper import Place
    from authz.wiring.injector import Webhook, WebhookSettings

    own = namespace_of(namespace, os.environ)
    spoken = (f"{service}.{own}.svc", f"{service}.{own}.svc.cluster.local", *(names or ()))
    place = Place(own, secret, configuration, tuple(dict.fromkeys(spoken)))
    webhook = Webhook(
        WebhookSettings(_tcp(listen), parse_address(ops), Path(template), place, watched_of(watched), drain_s)
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: webhook.stop())
    webhook.run()


def _tcp(text: str) -> TcpAddress:
    address = parse_address(text)
    if not isinstance(address, TcpAddress):
        raise ConfigError(f"--listen {text}: API servers connect by TCP; write `HOST:PORT`")
    return address


command.__doc__ = f"{command.__doc__}\n\n{_EPILOG}"

"""`authz inject-watch`: count the labelled pods that run without their sidecar."""

from __future__ import annotations

import signal
from pathlib import Path

from authz.cli.inject_options import LogLevel, Ops, Template, Watched, watched_of
from authz.config.log import configure
from authz.model.address import parse_address

_EPILOG = """\b
Example, as the chart runs it (values `watch.enabled: true`):
  authz inject-watch --template /etc/authz/injection/injection.json --ops 0.0.0.0:9192 --watch '*'

Metrics and the alert on them: see docs/webhook.md. The API server is that of the pod's service account, or
else of KUBECONFIG.

Exit codes: 0 told to stop; 2 usage; 3 the template, an address or the API server cannot be used."""


def command(
    template: Template,
    watched: Watched = None,
    ops: Ops = "127.0.0.1:9192",
    log_level: LogLevel = "info",
) -> None:
    """Count the labelled pods that run without their sidecar."""
    configure(log_level)
    # Only now: help needs none of it.
    from authz.wiring.injector import Watch, WatchSettings

    watch = Watch(WatchSettings(parse_address(ops), Path(template), watched_of(watched) or ("*",)))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watch.stop())
    watch.run()


command.__doc__ = f"{command.__doc__}\n\n{_EPILOG}"

"""`authz envoy application`: a sample application to stand behind Envoy, for trying an installation out."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from authz.cli.endings import CANNOT_RUN, stop, usage
from authz.proxy.choices import server
from authz.proxy.upstream import Upstream

_ENDS = {signal.SIGTERM, signal.SIGINT}


def command(
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where it answers HTTP/1.1.")
    ] = "127.0.0.1:8080",
) -> None:
    """Answer every request with 200 and what reached us, as JSON, until told to stop."""
    with usage():
        where = server(listen, "--listen")
    # Blocked before there are threads, so that the signal comes to `sigwait` and to nobody else.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        application = Upstream((where.host, where.port))
    except OSError as error:
        stop(f"--listen: cannot listen at `{listen}`: {error.strerror}; name another", CANNOT_RUN)
    with application:
        typer.echo(f"listening at {where.host}:{application.port}")
        signal.sigwait(_ENDS)

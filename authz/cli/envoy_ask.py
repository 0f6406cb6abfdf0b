"""`authz envoy ask`: send requests through Envoy and say whether the answers are the expected ones."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from authz.cli.endings import CANNOT_RUN, NO, stop, usage
from authz.model.errors import ConfigError
from authz.proxy import asking
from authz.proxy.asking import Answer, Expected, Patience, Silence
from authz.proxy.choices import server

_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}): ?([\x20-\x7e]{0,8192})")
_HOST = re.compile(r"[\x21-\x7e]{1,300}")

_EPILOG = """\b
Each EXPECTATION is one text: STATUS METHOD PATH, and if you like the REASON that
the refusal's header x-authz-reason should tell. They are sent in order, one by one.

\b
  authz envoy ask --at items:80 --host items.example.com \\
      "200 GET /public" "403 GET /admin forbidden"
  ok     GET /public: 200
  ok     GET /admin: 403 forbidden

While nobody listens, and while Envoy answers 502, 503 or 504 without being expected to,
a request is sent again until --wait is over. Redirects are not followed.

Exit codes: 0 every answer is the expected one; 1 one is not; 2 usage; 3 nobody answered."""


def command(
    expectations: Annotated[
        list[str], typer.Argument(metavar="EXPECTATION", help="What to send, and what should come.")
    ],
    at: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where Envoy, or its Service, listens.")],
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Host header. Default: the host of --at.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="K:V", help="A header of every request; repeat. Not for credentials."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="S", min=0, help="Seconds to wait for whoever is starting.")
    ] = 30,
) -> None:
    """Send requests through Envoy; say what was expected and what came."""
    with usage():
        wanted = [asking.expected(text) for text in expectations]
        where = server(at, "--at")
        send = asking.sender(where, _host(host or where.host), [_header(text) for text in header or ()])
    patience = Patience(time.monotonic() + wait)
    wrong = 0
    for one in wanted:
        answer = asking.ask(one, send, patience)
        if isinstance(answer, Silence):
            stop(
                f"--at: nobody answers at `{at}`: {answer.why}; is it running, and may we reach it?",
                CANNOT_RUN,
            )
        typer.echo(_line(one, answer))
        wrong += not answer.is_as(one)
    if wrong:
        raise typer.Exit(NO)


def _line(wanted: Expected, answer: Answer) -> str:
    came = f"{wanted.method} {wanted.target}: {_words(answer.status, answer.reason)}"
    if answer.is_as(wanted):
        return f"ok     {came}"
    return f"WRONG  {came}, expected was {_words(wanted.status, wanted.reason)}"


def _words(status: int, reason: str) -> str:
    return f"{status} {reason}" if reason else str(status)


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if not found:
        raise ConfigError("--header: one is no header; write for example `accept: text/html`")
    return found[1], found[2]


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ConfigError("--host: it is no host; write for example `items.example.com`")
    return text


command.__doc__ = f"{command.__doc__}\n\n{_EPILOG}"

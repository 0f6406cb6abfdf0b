"""All cases, in the order in which they are tried, and the classes that they belong to."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from authz.attack import credentials, frames, framing, headers, limits, messages, paths, requests
from authz.attack.aim import Aim
from authz.attack.case import Case
from authz.model.errors import ConfigError

# What is told of a class where `--list` shows it; in the order of the report.
CLASSES: dict[str, str] = {
    "slashes": "repeated, escaped and backward slashes in a protected path",
    "dots": "dot segments, plain and escaped",
    "escapes": "escaped letters, double escapes, broken escapes",
    "parameters": "`;` parameters in segments",
    "control-bytes": "NUL, line breaks, blanks and other control bytes",
    "utf8": "overlong and broken UTF-8",
    "query-and-fragment": "where the path ends",
    "forms": "no leading slash, absolute form, `*`, nothing",
    "generated-paths": "spellings of the protected path, mixed from a seed",
    "long-paths": "long paths, many segments, many escapes",
    "hosts": "odd hosts",
    "generated-hosts": "spellings of the host, mixed from a seed",
    "methods": "odd and rare methods, TRACE, CONNECT, OPTIONS",
    "method-overrides": "headers that name another method",
    "upgrades": "websocket and h2c",
    "free-passes": "headers and user agents that are said to open doors",
    "credentials": "what could be no credential",
    "bent-credentials": "what resembles a good credential",
    "two-credentials": "two credentials, alike or not",
    "credential-places": "a good credential where nobody should look for it",
    "alike": "answers that tell bad credentials apart",
    "dead-credentials": "revoked and expired credentials",
    "cookies": "a cookie as credential, sent from another site",
    "credential-removal": "whether the application sees the credential",
    "identity-headers": "headers that only the authorization server may set, sent by the client",
    "hop-by-hop": "`Connection` naming headers that must stay",
    "header-values": "line breaks, NUL and bytes that are not UTF-8 in headers",
    "sizes": "many headers, large headers, long queries",
    "framing": "requests whose end two readers see differently (HTTP/1.1)",
    "http2": "what only HTTP/2 can say",
    "messages": "CheckRequests that cannot be read",
    "odd-messages": "CheckRequests that say too little or too much",
    "contradictions": "CheckRequests whose parts disagree",
    "header-forms": "one request in each of Envoy's forms",
    "limits": "more calls than a limit lets pass, in disguise",
    "frames": "broken gRPC, oversized messages, bombs, resets",
}


_MESSAGES = frozenset({"messages", "odd-messages", "contradictions", "header-forms"})


class Choice(NamedTuple):
    """What to try.

    Args:
        classes: empty for all.
        without: classes to leave out.
        seed: what generated spellings begin with; the same seed gives the same ones.
        spellings: how many a generator makes.
        huge: also what takes hundreds of MiB to receive.
    """

    classes: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    seed: int = 1
    spellings: int = 200
    huge: bool = False


def check_classes(names: Sequence[str]) -> frozenset[str]:
    """Return the classes of these names.

    Raises:
        ConfigError: there is no such class.
    """
    for name in names:
        if name not in CLASSES:
            raise ConfigError(f"--class `{name}`: there is no such class; `authz attack --list` shows them")
    return frozenset(names)


def suite(aim: Aim, choice: Choice) -> Iterator[Case]:
    """Yield the cases for a target."""
    wanted = (choice.classes or frozenset(CLASSES)) - choice.without
    for case in _all(aim, choice, wanted):
        if case.group in wanted:
            yield case


def _all(aim: Aim, choice: Choice, wanted: frozenset[str]) -> Iterator[Case]:
    """Yield every case; those that take megabytes to make only where one of their classes is wanted."""

    def rng(part: str) -> Random:
        # One source for each part: what one draws does not change what another one gets.
        return Random(zlib.crc32(f"{part}:{choice.seed}".encode()))  # noqa: S311 - to repeat, not to hide

    yield from paths.cases(aim, rng("paths"), choice.spellings)
    yield from requests.cases(aim, rng("requests"), choice.spellings)
    yield from credentials.cases(aim, rng("credentials"), choice.spellings)
    yield from headers.cases(aim, rng("headers"), choice.spellings)
    yield from framing.cases(aim)
    if wanted & _MESSAGES:
        yield from messages.cases(aim, rng("messages"), choice.spellings)
    yield from limits.cases(aim)
    if "frames" in wanted:
        yield from frames.cases(aim, rng("frames"), huge=choice.huge)

"""How requests for some hosts are read and refused, and what a listener adds to that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from authz.model.limit import Rate
from authz.model.reason import Coarse

PATH_MAX_BYTES = 8192  # default of Site.spec.path.maxBytes, and what threats.md calls 414


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a browser is sent instead of being refused.

    Args:
        to: absolute URL.
        return_to: name of the query parameter that carries the URL first asked for; "" for none.
    """

    to: str
    return_to: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a Site adds to refusals of one told reason."""

    redirect: Redirect | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """One Site document, or the defaults.

    Args:
        keep_matrix: `;` parameters in a path are read both ways instead of refused.
        keep_slashes: encoded slashes in a path are read both ways instead of refused.
        remove_method_override: method-override headers are taken away instead of refused.
        full_reasons: the client is told the reason itself instead of the coarse one.
        refusals: told reason -> additions, `default` already merged in.
        guard: how many faults a client network may send; None: as many as it likes.
    """

    name: str = ""
    keep_matrix: bool = False
    keep_slashes: bool = False
    path_max_bytes: int = PATH_MAX_BYTES
    remove_method_override: bool = False
    full_reasons: bool = False
    refusals: Mapping[Coarse, Refusal] = field(default_factory=dict)
    guard: Rate | None = None


DEFAULT_SITE = Site()


@dataclass(frozen=True, slots=True)
class ServedHosts:
    """The hosts that an application serves, in canonical form.

    Args:
        names: hosts, each one alone.
        suffixes: of `*.suffix`, without the `*.`: any host with one or more labels before it.
    """

    names: frozenset[str]
    suffixes: frozenset[str] = frozenset()

    def covers(self, host: str) -> bool:
        """Whether a canonical host is one of them."""
        if host in self.names:
            return True
        if self.suffixes:
            _, _, rest = host.partition(".")
            while rest:
                if rest in self.suffixes:
                    return True
                _, _, rest = rest.partition(".")
        return False


@dataclass(frozen=True, slots=True)
class Listener:
    """What the operator said of the place where requests arrive; never chosen by a host.

    Args:
        hosts: the hosts that are served there; None: every host.
        trusted_hops: how many proxies of ours stand before ours; 0: the direct peer is the client.
        xff_appended: our Envoy appends its peer to x-forwarded-for before it asks.
        context: names of context extensions that policies may read.
        metadata: name spaces of Envoy's dynamic metadata that policies may read.
    """

    trusted_hops: int = 0
    xff_appended: bool = False
    context: frozenset[str] = frozenset()
    metadata: frozenset[str] = frozenset()
    max_message_bytes: int = 4 * 1024 * 1024
    max_header_count: int = 1000
    max_header_bytes: int = 96 * 1024  # names and values; Envoy's own default for requests is 60 KiB
    hosts: ServedHosts | None = None


@dataclass(frozen=True, slots=True)
class ReadingRules:
    """Everything besides the bytes that decides how a request is read.

    Args:
        site_of: canonical host -> the Site that speaks about it.
        owned: headers that only we may set, lower case with `_` and `.` as `-`; `x-authz-*` always is.
        owned_of: canonical host -> the headers that only we may set there, where scopes have some of their
            own; None: `owned` everywhere.
        time, body: whether any expression of the set asks for them; where not, they are not read.
    """

    site_of: Callable[[str], Site]
    owned: frozenset[str] = frozenset()
    listener: Listener = field(default_factory=Listener)
    time: bool = True
    body: bool = True
    owned_of: Callable[[str], frozenset[str]] | None = None

"""Host patterns: which hosts a policy or a Site speaks about.

A pattern is written in the canonical form that requests are brought to, so that looking one up is a
comparison and never a second parse.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, NamedTuple

from authz.policy.texts import shown

MAX_HOST_CHARS = 253  # RFC 1035, section 2.3.4, written without the last dot

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]{0,62})\}")
_PORT = re.compile(r":[0-9]*\Z")


class HostPattern(NamedTuple):
    """One host pattern.

    `exact` is one host; `suffix` (`*.x`) is one or more labels before it; `capture` (`{name}.x`) is exactly
    one label before it; `any` is every host.
    """

    kind: Literal["exact", "suffix", "capture", "any"]
    host: str  # the host, or the suffix without its leading dot, or ""
    capture: str  # the name between the braces, or ""

    @property
    def rank(self) -> tuple[str, str]:
        """What two patterns share if neither is more specific: `*.x` and `{n}.x` are equal."""
        return ("suffix" if self.kind == "capture" else self.kind, self.host)

    def matches(self, host: str) -> bool:
        """Whether a canonical host is one of this pattern: what `index.py` looks up, asked of one pattern."""
        match self.kind:
            case "any":
                return True
            case "exact":
                return host == self.host
            case "suffix":
                return host.endswith(f".{self.host}")
            case "capture":
                return host.partition(".")[2] == self.host


def parse_host(text: str) -> HostPattern:
    """Read a host pattern.

    Raises:
        ValueError: the text is no pattern; the message says how to mend it.
    """
    if text == "*":
        return HostPattern("any", "", "")
    if text.startswith("*."):
        return HostPattern("suffix", _canonical(text, text[2:]), "")
    if text.startswith("{"):
        name, dot, suffix = text.partition(".")
        capture = _CAPTURE.fullmatch(name)
        if capture is None or not dot:
            raise ValueError(f"`{shown(text)}` is no host pattern: write `{{name}}.example.com`")
        return HostPattern("capture", _canonical(text, suffix), capture[1])
    return HostPattern("exact", _canonical(text, text), "")


def _canonical(text: str, host: str) -> str:
    """Return `host` if it is canonical already; `text` is the whole pattern, for the message."""
    if host.startswith("["):
        return _address(text, host)
    if "*" in host or "{" in host or "}" in host:
        raise ValueError(f"`{shown(text)}`: a wildcard is the whole first label: write `*.example.com`")
    mended = tidied(host)
    if not host.isascii():
        raise ValueError(f"`{shown(text)}` is not ASCII: write the `xn--` form of the name")
    if len(mended) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in mended.split(".")):
        raise ValueError(
            f"`{shown(text)}` is no host: write a name such as `api.example.com`, without scheme and path"
        )
    if mended != host:
        whole = shown(text[: -len(host)] + mended)
        raise ValueError(f"`{shown(text)}` is not written as hosts are compared: write `{whole}`")
    return host


def tidied(host: str) -> str:
    """Return a host as it would be compared, if it is one: lower case, without port and last dot."""
    return _PORT.sub("", host).lower().removesuffix(".")


def _address(text: str, host: str) -> str:
    try:
        mended = f"[{ipaddress.IPv6Address(_PORT.sub('', host).strip('[]'))}]"
    except ValueError:
        raise ValueError(f"`{shown(text)}` is no host: write an IPv6 address in brackets") from None
    if "%" in mended or mended != host:
        raise ValueError(f"`{shown(text)}` is not written as hosts are compared: write `{mended}`")
    return host

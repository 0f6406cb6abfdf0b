"""What the small texts of documents may hold.

Every check takes what was written and returns it, or raises ValueError with what mends it; `prose.py` adds
the place, `fields.py` makes types of them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

MAX_EXPRESSION_BYTES = 8192  # section 4 of the contract

TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}"  # noqa: S105 - a grammar. RFC 9110, section 5.6.2
LOWER_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]{1,256}"  # noqa: S105 - a grammar
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"

# Source: RFC 9110, section 7.6.1; and what Envoy owns. Never set by a policy, never a credential's place.
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
UNSETTABLE = HOP_BY_HOP | {"host", "content-length"}
UNSETTABLE_PREFIXES = ("x-envoy-", "x-forwarded-")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")  # RFC 4291, section 2.5.5.2

_T = TypeVar("_T")


def plain_header(name: str) -> str:
    """Return a header name as it is compared: servers read `_` and `.` as `-`, so an alias must not pass."""
    return name.lower().replace("_", "-").replace(".", "-")


def shown(value: object) -> str:
    """Shorten the user's words to what a line of error prose can carry."""
    line = "".join(character if character.isprintable() else "?" for character in str(value))
    return line if len(line) <= 80 else f"{line[:77]}..."


def _is_unsettable(name: str) -> bool:
    plain = plain_header(name)
    return plain in UNSETTABLE or plain.startswith(UNSETTABLE_PREFIXES)


def _lower_token(value: str, what: str) -> str:
    if re.fullmatch(LOWER_TOKEN, value):
        return value
    if re.fullmatch(TOKEN, value):
        raise ValueError(f"`{value}` is not written as {what}s are compared: write `{value.lower()}`")
    raise ValueError(f"`{shown(value)}` is not a {what}")


def check_method(value: str) -> str:
    """Take a method as it stands in requests."""
    if value == "HEAD":
        raise ValueError("`HEAD` is read as GET everywhere: write `GET`")
    if value in ("TRACE", "TRACK", "CONNECT"):
        raise ValueError(f"`{value}` is refused in every request: remove it")
    if re.fullmatch("[A-Z][A-Z0-9_-]{0,31}", value):
        return value
    if re.fullmatch("[A-Za-z][A-Za-z0-9_-]{0,31}", value):
        raise ValueError(f"`{value}` is not upper case: write `{value.upper()}`")
    raise ValueError(f"`{shown(value)}` is not a method: write a name such as `GET`")


def check_upgrade(value: str) -> str:
    """Take a protocol that a request may ask to switch to."""
    if value.lower() == "h2c":
        raise ValueError("`h2c` is refused in every request: remove it")
    return _lower_token(value, "protocol name")


def check_header(value: str) -> str:
    """Take a header name, lower case."""
    return _lower_token(value, "header name")


def check_settable(value: str) -> str:
    """Take a header that `onAllow` may set."""
    if value.startswith(":"):
        raise ValueError(f"`{shown(value)}`: a policy may not set pseudo headers: remove it")
    check_header(value)
    if _is_unsettable(value):
        raise ValueError(f"a policy may not set `{value}`: choose a name of your own")
    return value


def check_credential_header(value: str) -> str:
    """Take a header that may hold a credential."""
    check_header(value)
    if value == "cookie":
        raise ValueError("`cookie` holds many values: write `{cookie: NAME}`")
    if _is_unsettable(value):
        raise ValueError(f"`{value}` belongs to the connection or to Envoy: choose another header")
    return value


def check_refusal_header(value: str) -> str:
    """Take a header that a Site may add to refusals."""
    check_header(value)
    plain = plain_header(value)
    if plain in HOP_BY_HOP | {"content-length", "content-type"} or plain.startswith("x-authz-"):
        raise ValueError(f"`{value}` is ours or the connection's to set: remove it")
    return value


def check_peer(value: str) -> str:
    """Take the name of a workload, or a pattern whose last segment is `*`."""
    if not re.fullmatch(r"[ -~]{1,2048}", value) or value != value.strip():
        raise ValueError(
            f"`{shown(value)}` is not a peer: write a name such as `spiffe://prod/ns/web/sa/api`"
        )
    head = value.removesuffix("/*")
    if "*" in head or not head:
        raise ValueError(f"`{shown(value)}`: `*` stands only as the whole last segment: write `.../*`")
    return value


def check_network(value: str) -> str:
    """Take a network in its shortest form."""
    if "/" not in value:
        bare = _or_none(ipaddress.ip_address, value)
        hint = f"write `{bare}/{bare.max_prefixlen}`" if bare else "write one such as `203.0.113.0/24`"
        raise ValueError(f"`{shown(value)}` is not a network: {hint}")
    network = _or_none(lambda text: ipaddress.ip_network(text, strict=False), value)
    if network is None or not re.fullmatch("[0-9A-Fa-f:.]+/[0-9]{1,3}", value):
        raise ValueError(f"`{shown(value)}` is not a network: write one such as `203.0.113.0/24`")
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inner = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
        raise ValueError(f"`{value}` is IPv4 inside IPv6: write `{inner}`")
    if str(network) != value:
        raise ValueError(f"`{value}` has host bits set or is not in its shortest form: write `{network}`")
    return value


def _or_none(parse: Callable[[str], _T], value: str) -> _T | None:
    try:
        return parse(value)
    except ValueError:
        return None


def check_instant(value: object) -> datetime:
    """Take a time with its zone; return it in UTC."""
    if not isinstance(value, str) or re.fullmatch(TIME, value) is None:
        raise ValueError(f"`{shown(value)}` is not a time: write one such as `2027-01-01T00:00:00Z`")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"`{value}` is no day of the calendar: write one such as `2027-01-01T00:00:00Z`"
        ) from None


def check_url(value: str) -> str:
    """Take an absolute URL."""
    if not re.fullmatch(r"[!-~]{1,2048}", value):
        raise ValueError(f"`{shown(value)}` is not a URL: write visible ASCII, escape the rest")
    parts = _or_none(urlsplit, value)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or "\\" in value:
        raise ValueError(f"`{shown(value)}` is not an absolute URL: write `https://host/path`")
    if "@" in parts.netloc or "#" in value:
        raise ValueError(f"`{shown(value)}`: a URL here has no user name and no fragment: remove it")
    return value


def check_expression(value: str) -> str:
    """Take the text of a condition; whether it compiles is asked later."""
    if not value.strip():
        raise ValueError("an empty condition: write one, or remove the line")
    if len(value.encode()) > MAX_EXPRESSION_BYTES:
        raise ValueError(f"longer than {MAX_EXPRESSION_BYTES} bytes: split it into several rules")
    return value


def check_unique(values: tuple[_T, ...]) -> tuple[_T, ...]:
    """Take a list that names nothing twice."""
    seen: set[_T] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"`{shown(value)}` stands twice: remove one")
        seen.add(value)
    return values

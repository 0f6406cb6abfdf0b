"""What stands in our Secret: `Held` to its keys and back. Who wrote it last may not have been us."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping

from authz.admission.certificate import Generation
from authz.admission.rotation import Held

_CA, _CERT, _KEY = "ca.crt", "tls.crt", "tls.key"
_FOLLOWING = "next."
_PREVIOUS = "previous.crt"
_SINCE = "since"  # seconds since 1970, as text


def encode(held: Held) -> dict[str, str]:
    """Return the Secret's `data`."""
    parts = _spread("", held.current)
    if held.following is not None:
        parts |= _spread(_FOLLOWING, held.following)
    if held.previous_ca:
        parts[_PREVIOUS] = held.previous_ca
    parts[_SINCE] = repr(held.since_s).encode()
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def decode(data: Mapping[str, str] | None) -> Held | None:
    """Return what stands there; None where it is nothing, or not what we wrote.

    Whether certificates are good is not asked here: see `rotation.advance`.
    """
    try:
        parts = {name: base64.b64decode(text, validate=True) for name, text in (data or {}).items()}
        since_s = float(parts[_SINCE])
    except (KeyError, ValueError, TypeError, binascii.Error):
        return None
    current = _gathered("", parts)
    if current is None or not math.isfinite(since_s):
        return None
    return Held(current, _gathered(_FOLLOWING, parts), parts.get(_PREVIOUS, b""), since_s)


def _spread(prefix: str, generation: Generation) -> dict[str, bytes]:
    return {
        f"{prefix}{_CA}": generation.ca,
        f"{prefix}{_CERT}": generation.cert,
        f"{prefix}{_KEY}": generation.key,
    }


def _gathered(prefix: str, parts: Mapping[str, bytes]) -> Generation | None:
    try:
        return Generation(*(parts[f"{prefix}{name}"] for name in (_CA, _CERT, _KEY)))
    except KeyError:
        return None

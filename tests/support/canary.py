"""Secrets that must come out nowhere, and the search for them in every form in which they might."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote

from authz.identity.apikey import ALPHABET, new_token

_BASE64_TAIL = 2  # characters at either end that depend on what stands beside the secret


class Leak(NamedTuple):
    """A canary that was found."""

    canary: str
    form: str
    where: str
    around: bytes


def word(mark: str) -> str:
    """Return a new secret that says where it was put: letters and digits, so that it may stand anywhere."""
    return mark + "".join(secrets.choice(ALPHABET) for _ in range(32))


def token(brand: str = "ak", env: str = "live") -> str:
    """Return a token that is well-formed and nobody's."""
    return new_token(brand, env).render()


def secret_of(text: str) -> str:
    """Return the secret inside a token, without its checksum."""
    return text.rsplit("_", 1)[1][:-6]


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield every form in which a secret may be hidden in lower-cased bytes."""
    raw = text.encode()
    yield "plain", raw.lower()
    yield "reversed", raw[::-1].lower()
    yield "hex", raw.hex().encode()
    yield "percent", "".join(f"%{byte:02x}" for byte in raw).encode()
    yield "percent, twice", quote("".join(f"%{byte:02x}" for byte in raw)).encode().lower()
    yield "unicode escapes", "".join(f"\\u{byte:04x}" for byte in raw).encode()
    yield "bytes escapes", "".join(f"\\x{byte:02x}" for byte in raw).encode()
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + raw)
        cut = padded[4 if shift else 0 :].rstrip(b"=")[:-_BASE64_TAIL]
        yield f"base64 at {shift}", cut.lower()
        yield f"base64url at {shift}", cut.replace(b"+", b"-").replace(b"/", b"_").lower()


def leaks(canaries: Mapping[str, str], outputs: Mapping[str, bytes]) -> list[Leak]:
    """Search outputs for canaries, whatever their case and form.

    Args:
        canaries: name -> secret.
        outputs: name -> everything that came out there.
    """
    found = []
    lowered = {where: output.lower() for where, output in outputs.items()}
    for name, text in canaries.items():
        for form, needle in forms(text):
            for where, hay in lowered.items():
                at = hay.find(needle)
                if at >= 0:
                    found.append(Leak(name, form, where, outputs[where][max(0, at - 120) : at + 200]))
    return found

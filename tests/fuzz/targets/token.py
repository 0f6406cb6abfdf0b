"""A presented token: one spelling alone proves a key, and what refusing costs depends on its form alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from authz.identity import keyring as room
from authz.identity.apikey import Token, parse_token
from authz.identity.keyring import Key
from authz.model.reason import Detail
from tests.fuzz.target import Target
from tests.support.keys import KEY_ID, TOKEN, kept, key, keyring
from tests.support.keys import token as made
from tests.support.requests import client

OLDER = "B" * 43
RING = keyring(
    key(kept(version=2), kept(OLDER, version=1)),
    key(key_id="revoked00000", enabled=False),
    key(key_id="expired00000", expires_at_us=1),
)
GOOD = (TOKEN, made(KEY_ID, OLDER))
NOW = 1_780_000_000_000_000
_DIGEST = "digest_under"  # where the keyring looks it up
_FORM = re.compile(r"ak_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


@contextmanager
def _counted() -> Iterator[list[int]]:
    """Count the digests that are computed."""
    count: list[int] = []
    whole = getattr(room, _DIGEST)

    def counting(*arguments: Any) -> bytes:
        count.append(1)
        return bytes(whole(*arguments))

    setattr(room, _DIGEST, counting)
    try:
        yield count
    finally:
        setattr(room, _DIGEST, whole)


def run(data: bytes) -> None:
    """Present one text, as headers and as queries give it."""
    for text in {data.decode("latin-1"), data.decode("utf-8", "surrogateescape")}:
        parsed = parse_token(text, "ak", "live")
        with _counted() as digests:
            verdict = RING.verify(text, NOW, client())
        if isinstance(parsed, Detail):
            assert verdict is parsed
            assert digests == []  # no look-up and no hashing for what is no token
            continue
        assert isinstance(parsed, Token)
        assert parsed.render() == text
        assert _FORM.fullmatch(text)
        assert parsed.secret not in repr(parsed)
        if isinstance(verdict, Key):
            assert text in GOOD
        else:
            assert text not in GOOD
            assert len(digests) == 2


TARGET = Target(
    run,
    256,
    (
        TOKEN.encode(),
        GOOD[1].encode(),
        b"ak_live_",
        KEY_ID.encode(),
        b"revoked00000",
        b"expired00000",
        b"_",
        b"A" * 43,
    ),
)

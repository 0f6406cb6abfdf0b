"""How what is sent is made smaller."""

from __future__ import annotations

import zlib

# Records are alike: the fastest level makes a fifth of them, the default one a sixth at four times the price.
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS


def packed(data: bytes) -> bytes:
    """Return it in the form of gzip, with no time in it: the same bytes each time."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()

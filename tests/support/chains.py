"""Lines of records in streams, chained and not, and what a look at them finds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from authz.history.finding import Report
from authz.history.line import Chunk, Place
from authz.history.verify import Verifier
from authz.record.chain import Chain, ChainKey, PublicKey

KEY = ChainKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_KEY = ChainKey(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
STREAM, LATER = "0000000000000001", "0000000000000002"
SIDECAR = "items-1"


def decision(seq: int, second: int = 0, text: str = "", stream: str = STREAM) -> bytes:
    """Return the line of one decision, with the fields that matter here."""
    fields = {
        "v": 1, "time": f"2026-11-23T05:{second // 60 % 60:02}:{second % 60:02}.000001Z",
        "decision_id": f"{stream[-1]}-{seq}", "request_id": text, "sidecar": SIDECAR, "stream": stream,
        "seq": seq, "outcome": "deny",
    }  # fmt: skip
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decisions(first: int, last: int, stream: str = STREAM) -> list[bytes]:
    """Return the lines of some decisions."""
    return [decision(seq, stream=stream) for seq in range(first, last + 1)]


def chained(lines: Sequence[bytes]) -> list[bytes]:
    """Return the whole chain of a stream, line by line without newlines."""
    chain = Chain(KEY, SIDECAR, STREAM)
    return (chain.link(b"".join(lines)) + chain.end()).splitlines()


def look(lines: Iterable[bytes], keys: Iterable[PublicKey] = (KEY.public,)) -> Report:
    """Verify a file of these lines, which may have their newlines or not."""
    verifier = Verifier(keys)
    verifier.take(Chunk(b"".join(line.rstrip(b"\n") + b"\n" for line in lines), Place("f", 1)))
    return verifier.report()


def told(report: Report) -> list[tuple[str, int]]:
    """Return of each finding the fault and the number of the line that it names."""
    return [(one.fault.value, int(one.place.rpartition(" ")[2])) for one in report.findings]

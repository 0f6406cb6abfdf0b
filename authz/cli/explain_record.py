"""Where the record of a decision is found: in a file of records, or at the debug socket of a sidecar."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from authz.cli.door import ask
from authz.model.address import parse_address
from authz.model.errors import ConfigError

_LINE_MAX_BYTES = 1024 * 1024  # a record is about 1 KiB


def from_file(decision_id: str, name: str) -> bytes | None:
    """Return the line of a decision in a file of records, the last if there are several; `-`: standard input.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as lines:
            return _last(decision_id, lines)
    except OSError as error:
        raise ConfigError(f"--records: `{name}` cannot be read: {error.strerror}") from None


def _last(decision_id: str, lines: Iterable[bytes]) -> bytes | None:
    found, wanted = None, f'"decision_id":"{decision_id}"'.encode()
    for line in lines:
        if wanted in line:
            found = line
    return found


def from_debug(decision_id: str, address: str) -> bytes | None:
    """Return the record that a sidecar keeps of a recent decision, or None.

    Raises:
        ConfigError: the address is none, or nobody answers there.
    """
    answer = ask(parse_address(address), f"/logs/{decision_id}", _LINE_MAX_BYTES)
    return answer.body if answer.status == 200 else None

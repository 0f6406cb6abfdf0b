"""A file that whoever looks finds old or new, and never half: written beside its place, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from authz.model.errors import ConfigError


def write_whole(file: Path, text: str) -> None:
    """Write a text to a file that others may read, as the umask says; what was there is replaced.

    Raises:
        ConfigError: it cannot be written; what was there before still is.
    """
    # Hidden, so that nobody who reads the directory meanwhile takes it for a file of its own.
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        try:
            with temporary.open("x", encoding="utf-8") as beside:
                beside.write(text)
                beside.flush()
                os.fsync(beside.fileno())
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        words = (error.strerror or "cannot be used").lower()
        raise ConfigError(f"{file}: {words}; name a file in a directory that can be written") from None

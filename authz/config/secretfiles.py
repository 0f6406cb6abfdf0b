"""Secrets that come as files: a directory, in it a file for each, named like its variable in the environment.

So a secret stands in no environment, which every child inherits and `/proc` shows to whoever has our user id.
Made for mounted Secrets of Kubernetes, and as well for any other directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from authz.config.sources import Key, Layer, layer, nearest
from authz.config.values import printable
from authz.model.errors import ConfigError

SECRET_MAX_BYTES = 64 * 1024  # the largest is a DSN of a few hundred
_CURRENT = "..data"  # in a mounted Secret: a link that is swapped when the Secret changes
_TRIES = 3


def read_secrets(directory: Path, keys: Mapping[str, Key]) -> Layer:
    """Read every secret of a directory; names that begin with a dot are left alone.

    One newline at the end is taken away, since editors and shells put one there.

    Raises:
        ConfigError: a file cannot be read, is empty, or is no secret of ours: a typo must not pass unseen.
    """
    secrets = {key.env: key for key in keys.values() if key.secret}
    for _ in range(_TRIES):
        before = _current(directory)
        found = {name: _secret(directory / name, name, secrets) for name in _names(directory)}
        if _current(directory) == before:
            return layer((secrets[name], value) for name, value in found.items())
    raise ConfigError(f"{directory}: changes faster than it can be read; start again once it is at rest")


def refuse_two_values(files: Layer, environment: Layer, keys: Mapping[str, Key]) -> None:
    """Refuse a secret that a file and the environment tell differently: whichever won would surprise someone.

    Raises:
        ConfigError: there is one.
    """
    for room, values in files.items():
        for name, value in values.items():
            other = environment.get(room, {}).get(name, value)
            if other != value:
                raise ConfigError(
                    f"{keys[name].env}: the environment and the file in the directory of secrets say two"
                    " different things; take one of them away"
                )


def _names(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))  # noqa: PTH208
    except OSError as error:
        raise ConfigError(f"{directory}: {_words(error)}; name a directory of secrets, or none") from None


def _current(directory: Path) -> str:
    """Return which version of a mounted Secret is there; "" where that cannot be told."""
    try:
        return os.readlink(directory / _CURRENT)  # noqa: PTH115 - a text, compared as it stands
    except OSError:
        return ""


def _secret(file: Path, name: str, secrets: Mapping[str, Key]) -> bytes:
    if name not in secrets:
        raise ConfigError(
            f"{file.parent}: `{printable(name)}` is no secret of ours; {nearest(name, secrets)}"
        )
    value = _content(file)
    value = value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value
    if not value:
        raise ConfigError(f"{file}: is empty; give it a value or take it away")
    return value


def _content(file: Path) -> bytes:
    try:
        # Not blocking: a pipe of this name would otherwise hold us for ever.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError(f"{file}: is no file; write the secret to a plain one")
            value = os.read(descriptor, SECRET_MAX_BYTES + 1)  # a plain file is read at once
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ConfigError(f"{file}: {_words(error)}; let the user that we run as read it") from None
    if len(value) > SECRET_MAX_BYTES:
        raise ConfigError(f"{file}: is larger than {SECRET_MAX_BYTES // 1024} KiB; a secret is a line")
    return value


def _words(error: OSError) -> str:
    return (error.strerror or "cannot be read").lower()

"""What a script writes in a real Redis, command by command, and a script whose clock a test sets."""

from __future__ import annotations

import ast
import re
import socket
from pathlib import Path
from typing import NamedTuple

from authz.limits.redis.script import SCRIPT

_CLOCK = b"local now = time[1] * 1000000 + time[2]\n"
_SET_BY_HAND = b"local now = tonumber(ARGV[2])\n"
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MARK = "seen until here"


def clocked_script() -> bytes:
    """Return the spending script with one line changed: its time is its second argument."""
    assert SCRIPT.count(_CLOCK) == 1
    return SCRIPT.replace(_CLOCK, _SET_BY_HAND)


class Write(NamedTuple):
    """One `SET` by a script."""

    key: bytes
    value: bytes
    life_ms: int


class Watcher:
    """Sees every command of one server, those of scripts too.

    Args:
        path: of the server's Unix socket.
    """

    def __init__(self, path: Path) -> None:
        self._eyes = socket.socket(socket.AF_UNIX)
        self._eyes.settimeout(10.0)
        self._eyes.connect(str(path))
        self._eyes.sendall(b"MONITOR\r\n")
        self._lines = self._eyes.makefile("rb")
        assert self._lines.readline() == b"+OK\r\n"
        self._mouth = socket.socket(socket.AF_UNIX)
        self._mouth.settimeout(10.0)
        self._mouth.connect(str(path))

    def writes(self) -> list[Write]:
        """Return what scripts have written since this was last asked; fails if they did anything but SET."""
        self._mouth.sendall(f'ECHO "{_MARK}"\r\n'.encode())
        found: list[Write] = []
        while _MARK not in (line := self._lines.readline().decode("latin-1")):
            if " lua] " in line:
                words = [ast.literal_eval(f'b"{word}"') for word in _WORD.findall(line)]
                if words[0] not in (b"GET", b"TIME"):
                    command, key, value, unit, life = words
                    assert (command, unit) == (b"SET", b"PX")
                    found.append(Write(key, value, int(life)))
        self._mouth.recv(1024)
        return found

    def close(self) -> None:
        """Look away."""
        self._lines.close()
        self._eyes.close()
        self._mouth.close()

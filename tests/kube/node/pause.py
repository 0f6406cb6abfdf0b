"""The process that keeps a pod's mounts, like the one that keeps its namespaces in a cluster."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.kube.node.running import LAUNCHER


class Pause:
    """The process. It ends when it is closed, or when we end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [*LAUNCHER, "pause"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )
        self._expect("ready")

    @property
    def mounts(self) -> str:
        """The namespace of its mounts, by its path."""
        return f"/proc/{self._process.pid}/ns/mnt"

    def mount(self, directory: Path, options: str) -> None:
        """Keep a directory in memory."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"directory": str(directory), "options": options}) + "\n")
        self._process.stdin.flush()
        self._expect("mounted")

    def close(self) -> None:
        """Let the mounts go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == word

"""The command `authz`, run as a shell does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

AUTHZ = Path(sys.executable).with_name("authz")


def run(
    *words: str, cwd: Path | None = None, typed: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `authz` as a shell does, with nothing of ours in its environment but what is given.

    Args:
        typed: standard input.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHZ_", "API_KEY_"))}
    return subprocess.run(
        [str(AUTHZ), *words],
        capture_output=True,
        text=True,
        timeout=60,
        input=typed,
        env=clean | environ,
        cwd=cwd,
        check=False,
    )

"""The real Envoy for tests: configurations that it checks, and a scene that it plays in."""

from __future__ import annotations

import subprocess
from pathlib import Path

from authz.proxy.process import program


def envoy_complaint(config: Path) -> str:
    """Return what Envoy finds wrong with a bootstrap; "" where it would start with it."""
    done = subprocess.run(
        [program("envoy"), "--mode", "validate", "--config-path", str(config), "--log-level", "error"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stderr or f"exit code {done.returncode}") if done.returncode else ""

"""The wheels that a lock file names, fetched once and kept for the next run."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def wheels_of(locks: Sequence[Path]) -> Path | None:
    """Return a directory with every wheel that the locks name; None where they cannot be had."""
    name = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "authz-tests" / "wheels"
    kept = cache / f"{sys.implementation.cache_tag}-{name}"
    if kept.is_dir():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(dir=cache))
    try:
        if not _fetched(locks, fetched):
            return None
        fetched.chmod(0o755)
        for old in cache.glob(f"{sys.implementation.cache_tag}-*"):
            shutil.rmtree(old, ignore_errors=True)  # of a lock that is no more
        fetched.rename(kept)
        return kept
    finally:
        shutil.rmtree(fetched, ignore_errors=True)


def _fetched(locks: Sequence[Path], into: Path) -> bool:
    named = [word for lock in locks for word in ("-r", str(lock))]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(into), *named]
    return subprocess.run(command, check=False, timeout=300).returncode == 0

"""A small policy set on disk, and the events of a log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.policies import PROVIDER, MadeKey, documents

POLICY = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/h}
---
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules: [{name: r, effect: allow, identity: [partner-keys], limits: [per-key]}]
"""
KEY = MadeKey("k")


def write(directory: Path, *texts: str) -> Path:
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name, content in documents(*texts).items():
        (directory / name).write_bytes(content)
    return directory


def small_set(directory: Path) -> Path:
    """One policy, one key, one token an hour."""
    return write(directory, PROVIDER, POLICY, KEY.document)


def events(logs: list[Any], event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event]

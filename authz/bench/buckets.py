"""Callers and limits for the bench of limits: so many nested buckets a check, and buckets for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from authz.bench import documents
from authz.bench.documents import PolicySet
from authz.bench.frame import frame

KEYS = 1000  # of a hundred customers
NESTED = (1, 2, 3, 6)
HOT_PER_S = 100
FLEET_PER_S, FLEET_BURST = 2000, 1000

# What names the buckets of one check: always the caller's, as on a Cluster it would have to be.
_PER = (
    "[identity.key_id]",
    "[identity.customer]",
    "[identity.customer, request.method]",
    "[identity.key_id, request.host]",
    "[identity.customer, request.host]",
    "[identity.key_id, request.method]",
)

# Buckets that are in use: slower than the load, so that none is ever full again, and never empty, since it is
# the passing check that is measured.
_NESTED = """kind: Limit
metadata: {{name: nested-{number}}}
spec: {{per: {per}, rate: 1/s, burst: 100000000}}
"""
_COMMON = """kind: Limit
metadata: {{name: {name}}}
spec: {{per: [request.host], rate: {rate}/s, burst: {burst}}}
"""
_POLICY = """kind: Policy
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.com]
  rules: [{{name: all, effect: allow, identity: [bench-keys], limits: [{limits}]}}]
"""


class Callers(NamedTuple):
    """A policy set, and prepared calls: one file for each host, in it one call of each key."""

    policies: PolicySet
    nested: dict[int, Path]  # by how many buckets the check asks
    hot: Path  # all callers draw from one bucket, which is nearly always empty
    fleet: Path  # all callers draw from one bucket of `FLEET_PER_S`


def write(directory: Path) -> Callers:
    """Write policies and calls into a new directory; the same every time."""
    (directory / "policies").mkdir(parents=True)
    written = documents.write(directory / "policies", 10, KEYS)
    texts = [_NESTED.format(number=number, per=per) for number, per in enumerate(_PER, 1)]
    texts.append(_COMMON.format(name="hot", rate=HOT_PER_S, burst=HOT_PER_S))
    texts.append(_COMMON.format(name="fleet", rate=FLEET_PER_S, burst=FLEET_BURST))
    for count in NESTED:
        limits = ", ".join(f"nested-{number}" for number in range(1, count + 1))
        texts.append(_POLICY.format(name=f"buckets-{count}", limits=limits))
    texts += [_POLICY.format(name=name, limits=name) for name in ("hot", "fleet")]
    head = "apiVersion: policy.authz/v1alpha1\n"
    file = written.directory / "limits.yaml"
    file.write_text("---\n".join(head + text for text in texts), encoding="utf-8")
    nested = {count: _calls(directory, written, f"buckets-{count}") for count in NESTED}
    return Callers(written, nested, _calls(directory, written, "hot"), _calls(directory, written, "fleet"))


def _calls(directory: Path, written: PolicySet, name: str) -> Path:
    file = directory / f"{name}.calls"
    file.write_bytes(b"".join(frame(f"{name}.example.com", "/", token) for token in written.tokens))
    return file

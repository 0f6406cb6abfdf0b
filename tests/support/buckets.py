"""A policy set whose limits are counted in every way, for those who look at buckets."""

from __future__ import annotations

from pathlib import Path

from authz.lookout.census import Census
from tests.support.policies import PROVIDER, MadeKey, load
from tests.support.sets import write

LIMITS = """
kind: Limit
metadata: {name: per-key}
spec:
  per: [identity.key_id]
  rate: 2/h
  tiers: [{when: '"gold" in identity.scopes', rate: 4/h}]
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 3/h, burst: 6}
---
kind: Limit
metadata: {name: per-method}
spec: {per: [identity.customer, request.method], rate: 1/h, burst: 10}
---
kind: Limit
metadata: {name: per-key-method}
spec: {per: [identity.key_id, request.method], rate: 1/h, burst: 10}
---
kind: Limit
metadata: {name: per-network}
spec: {per: [client.network], rate: 5/h}
---
kind: Limit
metadata: {name: per-visit}
spec: {per: ['request.headers["x-visit"]'], rate: 5/h}
---
kind: Limit
metadata: {name: all}
spec: {per: ['"all"'], rate: 100/h}
---
kind: Limit
metadata: {name: tried}
spec: {per: [identity.customer], rate: 1/h, mode: shadow}
"""
POLICY = """
kind: Policy
metadata: {name: p}
spec:
  hosts: [a.example.com]
  rules:
    - name: everything
      effect: allow
      paths: [/]
      identity: [partner-keys]
      limits: [per-key, per-customer, per-method, per-key-method, per-network, all, tried]
    - {name: visit, effect: allow, paths: [/visit], identity: [partner-keys], limits: [per-visit]}
"""
CUSTOMERS = """
kind: Customer
metadata: {name: acme}
spec:
  customers: example
  limits: {per-customer: {rate: 30/h, burst: 60}}
---
kind: Customer
metadata: {name: keyless}
spec: {customers: example}
"""
FIRST = MadeKey("first")
SECOND = MadeKey("second", scopes="gold")
OTHER = MadeKey("other", customer="globex")
DOCUMENTS = (PROVIDER, LIMITS, POLICY, CUSTOMERS, FIRST.document, SECOND.document, OTHER.document)


def census(*more: str) -> Census:
    """Return who there is in this set."""
    return Census(load(*DOCUMENTS, *more).loaded)


def written(directory: Path) -> Path:
    """Write the set to a directory."""
    return write(directory, *DOCUMENTS)

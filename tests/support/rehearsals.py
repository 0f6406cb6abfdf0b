"""Policy sets with PolicyTests, short to write."""

from __future__ import annotations

from authz.policy.kind_test import TestExpect
from authz.rehearsal.testing.run import Result, Stage
from authz.snapshot.build import Built, Surroundings
from tests.support.policies import PROVIDER, MadeKey, load

NOW = "2026-06-01T12:00:00Z"
KEY = MadeKey("partner")

POLICY = """
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules:
    - name: read
      effect: allow
      methods: [GET]
      paths: [/items]
      identity: [partner-keys]
      when: '"items:read" in identity.scopes'
      limits: [per-key]
    - {name: open, effect: allow, paths: [/open], identity: [anyone]}
    - {name: broken, effect: deny, paths: [/open], when: 'request.headers["x-break"] == "1"'}
  onAllow:
    headers: {x-customer: identity.customer}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/h}
"""
SET = (PROVIDER, POLICY, KEY.document)


def cases(*cases: str, name: str = "t", now: str = NOW) -> str:
    """Write a PolicyTest; each case in flow style, without its braces and name."""
    rows = "".join(f"    - {{name: case {number}, {case}}}\n" for number, case in enumerate(cases))
    return f"kind: PolicyTest\nmetadata: {{name: {name}}}\nspec:\n  now: {now}\n  cases:\n{rows}"


def asked(path: str = "/items", host: str = "items.example.com", more: str = "") -> str:
    """Write the request of a case; `more` begins with a comma."""
    return f"request: {{host: {host}, path: {path}{more}}}"


def results(*texts: str, around: Surroundings | None = None) -> list[Result]:
    """Run every case of a set."""
    return run(load(*texts, surroundings=around or Surroundings()))


def run(built: Built) -> list[Result]:
    """Run every case of a built set."""
    return list(Stage(built, lambda: 0).run(built.loaded.tests))


def told(*texts: str, around: Surroundings | None = None) -> list[list[str]]:
    """Run every case of a set, and return what came out otherwise of each."""
    return [[str(one) for one in result.differences] for result in results(*texts, around=around)]


def expect(outcome: str = "allow", **fields: object) -> TestExpect:
    """Return what a case expects."""
    return TestExpect(outcome=outcome, **fields)  # type: ignore[arg-type]  # pydantic checks them

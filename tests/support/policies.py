"""Policy sets for tests: short to write, whole to load."""

from __future__ import annotations

from textwrap import dedent

from authz.identity.apikey import digest, encode_digest, fingerprint, new_token
from authz.identity.keyring import Peppers
from authz.snapshot.build import Built, Surroundings, build
from authz.snapshot.snapshot import Snapshot

PEPPER = b"example-pepper-of-32-bytes-long!"
API_VERSION = "apiVersion: policy.authz/v1alpha1\n"

# `/open` is for strangers, `/limited` for keys, three at once.
OPEN_AND_LIMITED = """
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 1/s, burst: 3}
---
kind: Policy
metadata: {name: items}
spec:
  hosts: [items.example.com]
  rules:
    - {name: open, effect: allow, paths: [/open], identity: [anonymous]}
    - {name: limited, effect: allow, paths: [/limited], identity: [partner-keys], limits: [per-key]}
"""
PROVIDER = """
kind: IdentityProvider
metadata: {name: partner-keys}
spec:
  customers: example
  apiKey:
    in: [{header: x-api-key}, {header: authorization, scheme: Bearer}, {cookie: session}, {query: api_key}]
"""


def documents(*texts: str) -> dict[str, bytes]:
    """Return files with these documents; `apiVersion` is added, `---` separates."""
    parts = [part for text in texts for part in dedent(text).strip("\n").split("\n---\n")]
    return {f"{number}.yaml": (API_VERSION + part + "\n").encode() for number, part in enumerate(parts)}


def load(*texts: str, surroundings: Surroundings | None = None) -> Built:
    """Build a snapshot from these documents; raises SnapshotRejected."""
    return build(documents(*texts), surroundings or Surroundings(Peppers(PEPPER)), loaded_at_us=0)


def snapshot(*texts: str, surroundings: Surroundings | None = None) -> Snapshot:
    """Return the snapshot of these documents."""
    return load(*texts, surroundings=surroundings).snapshot


class MadeKey:
    """An API key made for one test: its document and its token."""

    def __init__(
        self, name: str, *, customer: str = "acme", scopes: str = "items:read", extra: str = ""
    ) -> None:
        token = new_token("ak", "live")
        self.name = name
        self.token = token.render()
        raw = digest(PEPPER, token.key_id, 1, token.secret)
        self.id = token.key_id
        self.document = (
            f"kind: ApiKey\nmetadata: {{name: {name}}}\nspec:\n"
            f"  id: {token.key_id}\n  provider: partner-keys\n"
            f"  customer: {customer}\n  scopes: [{scopes}]\n{extra}"
            f"  secrets: [{{version: 1, pepper: {fingerprint(PEPPER)!r}, digest: {encode_digest(raw)}}}]\n"
        )

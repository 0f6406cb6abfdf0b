"""Policy sets of any size, with keys whose tokens are known."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authz.identity.apikey import ALPHABET, Token, digest, encode_digest, fingerprint

PEPPER = "bench-pepper-of-32-bytes-or-more"  # of keys that live as long as a bench
HOSTS = 50  # policies share hosts, as teams share domains
_PER_FILE = 500  # documents; a file has a bound
_VERSION = "apiVersion: policy.authz/v1alpha1\n"

_BASE = """kind: IdentityProvider
metadata: {name: bench-keys}
spec: {customers: bench, apiKey: {in: [{header: x-api-key}]}}
---
kind: Limit
metadata: {name: per-key}
spec: {per: [identity.key_id], rate: 900000000/s}
---
kind: Limit
metadata: {name: per-customer}
spec: {per: [identity.customer], rate: 900000000/s}
---
kind: Limit
metadata: {name: once}
spec: {per: [identity.key_id], rate: 1/d}
---
kind: Policy
metadata: {name: refusals}
spec:
  hosts: [refused.example.com]
  rules:
    - {name: keys, effect: allow, paths: ["/keys/**"], identity: [bench-keys], when: 'request.size > 9'}
    - {name: once, effect: allow, paths: [/once], identity: [bench-keys], limits: [once]}
    - {name: denied, effect: deny, paths: ["/denied/**"], when: request.method == "GET"}
"""

_POLICY = """kind: Policy
metadata: {{name: p-{number}}}
spec:
  hosts: [{host}]
  rules:
    - name: read
      effect: allow
      methods: [GET]
      paths: [/p{number}/items, "/p{number}/items/{{id}}"]
      identity: [bench-keys]
      when: '{when}'
      limits: [per-key, per-customer]
  onAllow: {{headers: {{x-auth-key-id: identity.key_id, x-auth-customer: identity.customer}}}}
"""

_CHANGED = re.compile(r"/p0/items, (/changed/[0-9]+, )?")

# What most policies ask, of the identity alone; and one that must be evaluated anew for every request.
_OF_IDENTITY = '"items:read" in identity.scopes'
_OF_REQUEST = '"items:read" in identity.scopes && !request.url_path.endsWith("/secret")'

_KEY = """kind: ApiKey
metadata: {{name: k-{number}}}
spec:
  id: {id}
  provider: bench-keys
  customer: c-{customer}
  scopes: [items:read]
  enabled: {enabled}
  secrets: [{{version: 1, pepper: "{pepper}", digest: {digest}}}]
"""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """What was written, and the tokens that belong to it.

    Args:
        tokens: of enabled keys.
        revoked: the token of one key that is not.
        hosts: over so many the policies are spread.
    """

    directory: Path
    policies: int
    tokens: tuple[str, ...]
    revoked: str
    hosts: int = HOSTS

    def target(self, number: int, *, of_request: bool = False) -> tuple[str, str]:
        """Return host and path of a request that one of the policies allows.

        Args:
            of_request: by a policy whose condition reads the request, not the identity alone.
        """
        policy = number * 2 % self.policies + of_request
        return host_of(policy, self.hosts), f"/p{policy}/items/{number}"

    def change(self, number: int) -> tuple[str, str]:
        """Change one policy, in one step; return host and path of a request that is allowed from then on."""
        file = self.directory / "000000.yaml"
        path = f"/changed/{number}"
        changed = _CHANGED.sub(f"/p0/items, {path}, ", file.read_text(encoding="utf-8"), count=1)
        beside = file.with_name(".changing")  # nobody reads what begins with a dot
        beside.write_text(changed, encoding="utf-8")
        beside.replace(file)
        return host_of(0, self.hosts), path


def host_of(policy: int, hosts: int = HOSTS) -> str:
    """Return the host that a policy speaks about."""
    return f"team-{policy % hosts}.example.com"


def write(directory: Path, policies: int, keys: int, hosts: int = HOSTS) -> PolicySet:
    """Write a policy set; the same numbers give the same documents."""
    dice = random.Random(policies * 31 + keys)  # noqa: S311 - repeatable, and guards nothing
    tokens = [_token(dice) for _ in range(keys + 1)]
    documents = [*_BASE.split("---\n"), *_policies(policies, hosts), *_keys(tokens)]
    for start in range(0, len(documents), _PER_FILE):
        text = "---\n".join(_VERSION + document for document in documents[start : start + _PER_FILE])
        (directory / f"{start:06d}.yaml").write_text(text, encoding="utf-8")
    good = tuple(token.render() for token in tokens[:-1])
    return PolicySet(directory, policies, good, tokens[-1].render(), hosts)


def _policies(count: int, hosts: int) -> Iterator[str]:
    for number in range(count):
        when = _OF_REQUEST if number % 2 else _OF_IDENTITY
        yield _POLICY.format(number=number, host=host_of(number, hosts), when=when)


def _keys(tokens: list[Token]) -> Iterator[str]:
    pepper = PEPPER.encode()
    for number, token in enumerate(tokens):
        yield _KEY.format(
            number=number,
            id=token.key_id,
            customer=number % 100,
            enabled="false" if number == len(tokens) - 1 else "true",
            pepper=fingerprint(pepper),
            digest=encode_digest(digest(pepper, token.key_id, 1, token.secret)),
        )


def _token(dice: random.Random) -> Token:
    return Token("ak", "live", "".join(dice.choices(ALPHABET, k=12)), "".join(dice.choices(ALPHABET, k=43)))

"""What happens to the document of a key: made, rotated. Plain data in, plain data out.

The clock, the pepper and the token come as arguments; nothing here prints or writes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from authz.identity.apikey import Token, digest, encode_digest, fingerprint

Data = dict[str, Any]  # any: what a YAML document holds; `keyfile.checked` reads it back before it is written


def secret_of(token: Token, version: int, pepper: bytes) -> Data:
    """Return what a document keeps of a token's secret."""
    kept = digest(pepper, token.key_id, version, token.secret)
    return {"version": version, "pepper": fingerprint(pepper), "digest": encode_digest(kept)}


def rotation_refused(spec: Data, now: datetime, grace: timedelta) -> str:
    """Return why a key cannot be rotated, and what to do; "" where it can.

    A new secret of a dead key would be a token that does not work; three good secrets are more than a
    document holds.
    """
    if not spec.get("enabled", True):
        return "the key is revoked; create a new one"
    if "expiresAt" in spec and parse(spec["expiresAt"]) <= now:
        return f"the key expired at {spec['expiresAt']}; move its `expiresAt`, or create a new one"
    live = _live(spec, now)
    if len(live) > 1 and grace:
        until = min((kept["expiresAt"] for kept in live if "expiresAt" in kept), default="they are removed")
        return f"two secrets are good until {until}; wait, or end both with `--grace 0`"
    return ""


def rotated(spec: Data, now: datetime, grace: timedelta, token: Token, pepper: bytes) -> Data:
    """Return the spec with the token's secret in front; what was good stays so for the grace period."""
    version = 1 + max(kept["version"] for kept in spec["secrets"])
    old = [_ending(kept, now + grace) for kept in _live(spec, now)] if grace else []
    return {**spec, "secrets": [secret_of(token, version, pepper), *old]}


def written(moment: datetime) -> str:
    """Return a time as documents write it, in UTC and whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Return the time that a checked document states."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _live(spec: Data, now: datetime) -> list[Data]:
    return [kept for kept in spec["secrets"] if "expiresAt" not in kept or parse(kept["expiresAt"]) > now]


def _ending(kept: Data, moment: datetime) -> Data:
    """Return a kept secret that ends at a moment, or earlier if it would have."""
    if "expiresAt" in kept and parse(kept["expiresAt"]) <= moment:
        return kept
    return {**kept, "expiresAt": written(moment)}

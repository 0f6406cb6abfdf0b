"""What is logged of a set that came into force."""

from __future__ import annotations

from authz.config.log import get_logger
from authz.snapshot.build import Built
from authz.snapshot.snapshot import Snapshot

_KEYS_TOLD = 20
_OVERRIDES_TOLD = 20

_log = get_logger("wiring")


def tell_loaded(built: Built, took_us: int) -> None:
    """Log what is in force from now on, and which of its keys cannot be used."""
    loaded, disabled = built.loaded, built.snapshot.keyring.disabled
    overrides = overriding(built.snapshot)
    _log.info(
        "policy set loaded",
        revision=loaded.revision,
        policies=len(loaded.policies),
        keys=len(loaded.keys),
        warnings=len(built.warnings),
        **({"overrides": overrides} if overrides else {}),
        took_ms=took_us // 1000,
    )
    if disabled:
        _log.warning(
            "keys are disabled: their pepper is not here",
            count=len(disabled),
            keys=list(disabled[:_KEYS_TOLD]),
            mend="set API_KEY_SALT (or API_KEY_SALT_PREVIOUS) to the pepper that made them",
        )


def overriding(snapshot: Snapshot) -> str:
    """Name the deny rules of the overrides in force; "" where none is: nobody must have to guess at that."""
    rules = snapshot.overrides.rules if snapshot.overrides is not None else ()
    more = f" (and {len(rules) - _OVERRIDES_TOLD} more)" if len(rules) > _OVERRIDES_TOLD else ""
    return ", ".join(rules[:_OVERRIDES_TOLD]) + more

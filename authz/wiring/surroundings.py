"""What loading takes from settings."""

from __future__ import annotations

from authz.config.rooms import RecordSettings
from authz.config.settings import Settings
from authz.identity.keyring import Peppers
from authz.model.redis_address import RedisKind
from authz.model.site import Listener
from authz.record.pseudonym import Pseudonyms
from authz.request.host import served_hosts
from authz.snapshot.build import Surroundings
from authz.snapshot.sources import Directories


def directories(settings: Settings) -> Directories:
    """Return what the operator names."""
    return Directories(settings.serve.policies, settings.snapshot.scopes, settings.snapshot.overrides)


def surroundings(settings: Settings, sidecar: str, processes: int = 1, stream: str = "") -> Surroundings:
    """Return what a snapshot takes from settings.

    Args:
        processes: share its limits, where a store does not.
        stream: to which records belong; see `record/segment.py`.
    """
    identity, request, redis = settings.identity, settings.request, settings.limits.redis_url
    return Surroundings(
        peppers=Peppers(
            identity.api_key_salt.get_secret_value() if identity.api_key_salt else None,
            identity.api_key_salt_previous.get_secret_value() if identity.api_key_salt_previous else None,
        ),
        brand=identity.key_brand,
        env=identity.key_env,
        listener=Listener(
            hosts=served_hosts(request.hosts),
            trusted_hops=request.trusted_hops,
            xff_appended=request.xff_appended,
            context=frozenset(request.context),
            metadata=frozenset(request.metadata),
            max_message_bytes=request.max_message_bytes,
            max_header_count=request.max_header_count,
            max_header_bytes=request.max_header_bytes,
        ),
        source_revision=settings.serve.source_revision,
        sidecar=sidecar,
        stream=stream,
        record_headers=settings.record.record_headers,
        pseudonyms=_pseudonyms(settings.record),
        processes=processes,
        keepers=1 if redis is not None else processes,
        # Asked even where spending is off: a set that is served then must be fit for being switched on.
        clustered=redis is not None and redis.kind is RedisKind.CLUSTER,
    )


def _pseudonyms(record: RecordSettings) -> Pseudonyms | None:
    key = record.record_pseudonym_key
    if not record.record_pseudonyms or key is None:  # without a key the settings were refused
        return None
    return Pseudonyms(key.get_secret_value(), record.record_pseudonyms)

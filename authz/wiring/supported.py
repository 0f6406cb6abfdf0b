"""Settings that name what is not built yet are refused before anything starts."""

from __future__ import annotations

from authz.config.settings import Settings
from authz.model.errors import ConfigError
from authz.record.redact import check_header_names
from authz.wiring.reach import require_reachable
from authz.wiring.shares import addresses


def require_supported(settings: Settings) -> None:
    """Refuse settings that name what is not built yet; raises ConfigError."""
    if settings.record.dynamic_metadata:
        raise ConfigError("dynamic_metadata: not supported yet; leave it out")
    check_header_names(settings.record.record_headers)
    if not settings.serve.policies:
        raise ConfigError("--policies: no directory is named; name at least one")
    require_reachable(settings)
    addresses(settings.serve.listen, settings.serve.workers)

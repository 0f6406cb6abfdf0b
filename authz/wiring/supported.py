"""Settings that name what is not built yet are refused before anything starts."""

from __future__ import annotations

from authz.config.rooms import ServeSettings
from authz.config.settings import Settings
from authz.model.address import TcpAddress
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
    _require_apart(settings.serve)


def _require_apart(serve: ServeSettings) -> None:
    """Refuse an address of checks that `--ops` or `--debug` has: a worker's may not be as it was written."""
    for own in addresses(serve.listen, serve.workers):
        for address in own:
            if isinstance(address, TcpAddress) and address.port == 0:
                continue  # the kernel chooses
            for flag, other in (("--ops", serve.ops), ("--debug", serve.debug)):
                if address == other:
                    why = f"with {serve.workers} workers it is needed, and " if serve.workers > 1 else ""
                    raise ConfigError(
                        f"--listen {address}: {why}{flag} has it; choose another for one of them"
                    )

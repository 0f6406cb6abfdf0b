"""Settings that name what is not built yet are refused before anything starts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from authz.config.rooms import RecordSettings, ServeSettings
from authz.config.settings import Settings
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError
from authz.model.sink import SinkKind
from authz.record.redact import check_header_names, check_hidden_headers
from authz.wiring.reach import require_reachable
from authz.wiring.shares import addresses


def require_supported(settings: Settings) -> None:
    """Refuse settings that name what is not built yet; raises ConfigError."""
    if settings.record.dynamic_metadata:
        raise ConfigError("dynamic_metadata: not supported yet; leave it out")
    check_header_names(settings.record.record_headers)
    check_hidden_headers(settings.record.record_headers, settings.record.record_pseudonyms)
    _require_shippable(settings.record)
    if not settings.serve.policies:
        raise ConfigError("--policies: no directory is named; name at least one")
    require_reachable(settings)
    _require_apart(settings.serve)


def _require_shippable(record: RecordSettings) -> None:
    """Refuse what the process that ships records could not use: it starts later, and none would miss it."""
    for sink in record.record_sink:
        if sink.kind is SinkKind.KAFKA and find_spec("confluent_kafka") is None:
            raise ConfigError(f"record_sink: `{sink}` needs the extra `kafka`; install `authz[kafka]`")
        if sink.kind is SinkKind.FILE and not Path(sink.target).parent.is_dir():
            raise ConfigError(f"record_sink: `{sink}`: there is no directory {Path(sink.target).parent}")
    if record.record_chain_key is not None:
        from authz.record.chain import read_key  # it loads 10 MiB

        read_key(record.record_chain_key)


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

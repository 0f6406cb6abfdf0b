"""Settings that name what is not built yet are refused before anything starts."""

from __future__ import annotations

import errno
import os
from importlib.util import find_spec
from pathlib import Path

from authz.config.rooms import RecordSettings, ServeSettings
from authz.config.settings import Settings
from authz.model.address import TcpAddress
from authz.model.errors import ConfigError
from authz.model.sink import SinkKind
from authz.record.redact import check_header_names, check_hidden_headers
from authz.record.segment import is_stream
from authz.record.spool import make_private
from authz.shipping.positions import DIRECTORY
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
            raise ConfigError(
                f"record_sink: `{sink}`: there is no directory {Path(sink.target).parent}; make it"
            )
    _require_readable(record)
    if record.record_spool is not None:
        _require_spool(record.record_spool)
    if record.record_chain_key is not None:
        from authz.record.chain import read_key  # it loads 10 MiB

        read_key(record.record_chain_key)


def _require_readable(record: RecordSettings) -> None:
    """Refuse certificates that are not there: sinks read them with their first record, hours later."""
    named = {"ca": record.record_ca, "cert": record.record_cert, "key": record.record_key}
    for name, path in named.items():
        if path is None:
            continue
        try:
            path.read_bytes()
        except OSError as error:
            words = (error.strerror or "cannot be read").lower()
            raise ConfigError(
                f"record_{name}: `{path}`: {words}; name a file that this user may read"
            ) from None


def _require_spool(spool: Path) -> None:
    """Refuse a directory that can be no spool, or is somebody's for something else."""
    try:
        if spool.is_dir() and spool.stat().st_mode & 0o077 and not _is_spool(spool):
            # SECURITY: a spool is closed to others; /tmp or /var/lib shall not be, for a slip of the pen.
            raise PermissionError(errno.EPERM, "others can enter it, and it holds what is of no spool")
        make_private(spool)
        if not os.access(spool, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "it cannot be written")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):  # the first write tries again
            return
        words = (error.strerror or "cannot be used").lower()
        raise ConfigError(
            f"record_spool: `{spool}`: {words}; name a directory that this user alone may use"
        ) from None


def _is_spool(directory: Path) -> bool:
    return all(entry.name == DIRECTORY or is_stream(entry.name) for entry in directory.iterdir())


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

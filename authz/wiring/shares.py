"""What one of several workers has for its own: a name, addresses, a share of what is counted in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from authz.config.rooms import LimitSettings
from authz.config.settings import Settings
from authz.model.address import PORT_MAX, UNIX_PATH_MAX_BYTES, Address, TcpAddress, UnixAddress
from authz.model.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the workers a process is.

    Args:
        index: from 0.
        count: of all workers; 1: the process serves alone.
        life: how often this worker was started before.
        turn_fd: the file in whose lock workers take turns to write records; -1 where nobody else writes.
        spool: where records are written to be shipped; None where they are not, or the process is alone.
    """

    index: int = 0
    count: int = 1
    life: int = 0
    turn_fd: int = -1
    spool: Path | None = None

    @property
    def alone(self) -> bool:
        """Whether there is no supervisor."""
        return self.count == 1

    def name(self, sidecar: str) -> str:
        """Return what records call this process: another name in every life, since each counts from 1."""
        if self.alone:
            return sidecar
        return f"{sidecar}-{self.index}.{self.life}" if self.life else f"{sidecar}-{self.index}"

    def of(self, whole: int) -> int:
        """Return this worker's part of what a setting bounds; at least one of something."""
        return max(1, whole // self.count) if whole else 0


ALONE = Share()


def addresses(listen: Sequence[Address], workers: int) -> list[tuple[Address, ...]]:
    """Return where each worker listens: at as many addresses as are listed, each its own.

    Raises:
        ConfigError: there is no such port or socket, or two workers would meet at one.
    """
    if workers == 1:
        return [tuple(listen)]
    every = [tuple(_own(address, index) for address in listen) for index in range(workers)]
    seen: dict[Address, Address] = {}
    for own in every:
        for address, asked in zip(own, listen, strict=True):
            if address in seen:
                raise ConfigError(
                    f"--listen {asked}: with {workers} workers it needs {address}, and so does"
                    f" --listen {seen[address]}; leave more room between them"
                )
            seen[address] = asked
    return every


def own_settings(settings: Settings, index: int) -> Settings:
    """Return the settings of one worker: everybody's, with its own addresses."""
    listen = addresses(settings.serve.listen, settings.serve.workers)[index]
    return settings.model_copy(update={"serve": settings.serve.model_copy(update={"listen": listen})})


def _own(address: Address, index: int) -> Address:
    match address:
        case UnixAddress(path):
            own = path.with_name(f"{path.stem}-{index}{path.suffix}")
            if len(str(own).encode("utf-8", "surrogateescape")) > UNIX_PATH_MAX_BYTES:
                raise ConfigError(
                    f"--listen {address}: `{own}` is too long for a socket; choose a shorter path"
                )
            return UnixAddress(own)
        case TcpAddress(host, port):
            if port == 0:
                raise ConfigError(
                    f"--listen {address}: workers take consecutive ports; name the first of them"
                )
            if port + index > PORT_MAX:
                raise ConfigError(f"--listen {address}: there is no port {port + index}; choose a lower one")
            return TcpAddress(host, port + index)


def whereabouts(settings: LimitSettings) -> str:
    """Say where buckets are kept, for the log: a variable that is misspelt shows there."""
    if not settings.rate_limit_enabled:
        return "off"
    if settings.redis_url is None:
        return "in the memory of each process"
    return f"in the keyspace {settings.keyspace} of {settings.redis_url}"

"""Addresses that are never stolen. Beside each Unix socket is a lock, held for as long as it is served.

A second bind on a live socket silently takes its callers away, and the kernel does not object.
The lock is what objects; it dies with its process, so a crash leaves nothing to clean up by hand.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from pathlib import Path

from authz.model.address import Address, TcpAddress
from authz.model.errors import ConfigError

# Envoy shares our group; nobody else may ask about anybody.
SOCKET_MODE = 0o660

_PROBE_TIMEOUT_S = 0.5  # a live listener's backlog answers at once; a full one is alive too
_DIRECTORY_MODE = 0o750  # Envoy reaches the socket through its group
_TRIES = 10  # an owner that releases between our open and our lock costs one


class Claim:
    """The sole right to listen on one path. Made by `claim`; ends with `release` or with the process."""

    __slots__ = ("_fd", "_lock_path", "path")

    def __init__(self, path: Path, lock_path: Path, fd: int) -> None:
        self.path = path
        self._lock_path = lock_path
        self._fd = fd

    def release(self) -> None:
        """Remove the socket and the lock. Safe to call again."""
        if self._fd < 0:
            return
        # INVARIANT: files go while the lock is held, or a successor would lose its own.
        self.path.unlink(missing_ok=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def claim(path: Path) -> Claim:
    """Take a socket path for this process, making its directory and removing a dead socket.

    Raises:
        ConfigError: another process serves there, something else stands there, or we may not write there.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        fd = _lock(lock_path, path)
        try:
            _clear(path)
        except (ConfigError, OSError):
            lock_path.unlink(missing_ok=True)
            os.close(fd)
            raise
    except OSError as error:
        raise ConfigError(
            f"socket `{path}`: {_words(error)}; choose a path that this user may write"
        ) from None
    return Claim(path, lock_path, fd)


def _lock(lock_path: Path, path: Path) -> int:
    """Open and lock the lock file; the file that is locked is the one that the path names."""
    for _ in range(_TRIES):
        # SECURITY: no following of links: the directory may be shared with others.
        fd = os.open(lock_path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise _busy(path) from None
        if _names(lock_path, fd):
            return fd
        os.close(fd)  # its former owner removed it after our open: lock the new one
    raise _busy(path)


def _names(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(fd))
    except FileNotFoundError:
        return False


def _clear(path: Path) -> None:
    """Remove a socket that nobody serves; refuse anything else that stands there."""
    try:
        mode = path.stat(follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"socket `{path}`: something that is no socket stands there; remove it or choose another path"
        )
    if _alive(path):
        raise _busy(path)
    path.unlink(missing_ok=True)


def _alive(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # not allowed, or its backlog is full: somebody is there
    return True


def _busy(path: Path) -> ConfigError:
    return ConfigError(f"socket `{path}`: another process serves there; stop it or choose another path")


def require_loopback(address: TcpAddress) -> None:
    """Refuse to answer whoever reaches this machine.

    Raises:
        ConfigError: others than this machine reach the address.
    """
    if not address.is_loopback:
        raise ConfigError(
            f"--listen {address}: plain TCP serves loopback only, since whoever reaches it may ask about"
            " anybody; use `unix:PATH` or 127.0.0.1, or name --tls-cert, --tls-key, --tls-client-ca and"
            " --tls-clients"
        )


def require_free(address: TcpAddress) -> None:
    """Ask the kernel first: both libraries write lines of their own on standard error when they cannot bind.

    Raises:
        ConfigError: the port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
        except OSError as error:
            raise ConfigError(
                f"--listen {address}: {_words(error)}; free the port or choose another"
            ) from None


def unusable(address: Address, error: Exception) -> ConfigError:
    """Return what to say of an address that a library cannot listen at."""
    words = " ".join(str(error).lower().split()) or "cannot be used"
    return ConfigError(f"--listen {address}: {words}; free it or choose another")


def _words(error: OSError) -> str:
    return (error.strerror or "cannot be used").lower()

"""The network of one node: a bridge in a namespace of its own, and a pair of interfaces for each pod.

Nothing of the machine's own network is touched, and nothing is left behind: a namespace is held by a handle
of this process, and goes away with it. Tests reach pods by sockets made inside of the node's namespace.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_GATEWAY = "10.244.0.1"
_libc = ctypes.CDLL(None, use_errno=True)


class Place(NamedTuple):
    """A pod's network.

    Args:
        handle: an open handle of its namespace.
        address: the pod's address.
    """

    handle: int
    address: str

    @property
    def path(self) -> str:
        """By which another process enters the namespace."""
        return _path(self.handle)


class Network:
    """A bridge, and the pods at it."""

    def __init__(self) -> None:
        self._node = _namespace()
        self._numbers = itertools.count(2)
        _ip(
            self._node,
            "link set lo up",
            "link add bridge type bridge",
            f"addr add {_GATEWAY}/16 dev bridge",
            "link set bridge up",
        )

    @property
    def gateway(self) -> str:
        """The node's own address, from which probes and tests come."""
        return _GATEWAY

    def attach(self) -> Place:
        """Make a pod's namespace, with an address that every pod and the node reach."""
        number = next(self._numbers)
        pod, address = _namespace(), f"10.244.{number // 250}.{number % 250 + 1}"
        _ip(
            self._node,
            f"link add pod{number} type veth peer name eth0 netns {_path(pod)}",
            f"link set pod{number} master bridge up",
        )
        _ip(
            pod,
            "link set lo up",
            f"addr add {address}/16 dev eth0",
            "link set eth0 up",
            f"route add default via {_GATEWAY}",
        )
        return Place(pod, address)

    def detach(self, place: Place) -> None:
        """Let a pod's namespace go."""
        os.close(place.handle)

    def close(self) -> None:
        """Let the node's namespace go."""
        os.close(self._node)

    def own_address(self, address: str) -> None:
        """Let the node answer at one more address, such as a Service's."""
        _ip(self._node, f"addr replace {address}/32 dev bridge")

    def connect(self, address: str, port: int, timeout_s: float = 10.0) -> socket.socket:
        """Connect from the node.

        Raises:
            OSError: nobody answers there.
        """
        line = self.socket()
        line.settimeout(timeout_s)
        try:
            line.connect((address, port))
        except OSError:
            line.close()
            raise
        return line

    def socket(self) -> socket.socket:
        """Return a TCP socket of the node's network; who uses it may be anywhere."""
        return _within(self._node, socket.socket)


def within_pod(place: Place, make: Callable[[], T]) -> T:
    """Do something in a pod's network, such as to connect to its loopback."""
    return _within(place.handle, make)


def _namespace() -> int:
    """Return a handle of a new network namespace."""

    def make() -> int:
        _check(_libc.unshare(_NEW_NETWORK))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(make)


def _within(handle: int, action: Callable[[], T]) -> T:
    def enter() -> T:
        _check(_libc.setns(handle, _NEW_NETWORK))
        return action()

    return _in_thread(enter)


def _in_thread(action: Callable[[], T]) -> T:
    """Run in a thread that ends then: namespaces belong to threads, and nobody else's must change."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again below, where it is waited for
            errors.append(error)

    thread = threading.Thread(target=run, name="namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _path(handle: int) -> str:
    return f"/proc/{os.getpid()}/fd/{handle}"


def _check(code: int) -> None:
    if code:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(handle: int, *lines: str) -> None:
    subprocess.run(
        ["nsenter", f"--net={_path(handle)}", "ip", "-batch", "-"],
        input="\n".join(lines),
        text=True,
        capture_output=True,
        check=True,
        timeout=20,
    )

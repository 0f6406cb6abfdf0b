"""The real fronts, each on every kind of address that it serves, and the reference client for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc

from authz.model.address import Address, TcpAddress, UnixAddress
from authz.proxy.process import free_port
from authz.transport.certificate import Files
from authz.transport.front import METHOD, Front
from authz.transport.grpcio import GrpcioFront
from authz.transport.native import NativeFront
from authz.transport.shield import LAST_RESORT
from authz.transport.tls import Clients, ServerTls
from tests.support.certificates import ENVOY, Authority, Pair
from tests.support.grpc import Ask

KINDS = ("native-unix", "native-tcp", "grpcio-unix", "grpcio-tcp", "grpcio-mtls")

CLIENTS = ("spiffe://prod/ns/web/sa/*",)


@lru_cache
def authority() -> Authority:
    """The CA of one test run."""
    return Authority()


@lru_cache
def envoys_pair() -> Pair:
    """The certificate of an Envoy that may ask."""
    return authority().vouch(ENVOY)


@dataclass(frozen=True)
class Listener:
    """One front on one kind of address."""

    kind: str
    address: Address
    files: Files | None = None

    @classmethod
    def of(cls, kind: str, directory: Path) -> Listener:
        """Choose a free address of this kind."""
        if kind.endswith("unix"):
            return cls(kind, UnixAddress(directory / "a.sock"))
        files = None
        if kind.endswith("mtls"):
            cert, key = authority().server().written(directory, "server")
            files = Files(cert, key, authority().written(directory))
        return cls(kind, TcpAddress("127.0.0.1", free_port()), files)

    def front(self, serving: Callable[[], bool] = lambda: True, **sizes: int) -> Front:
        """Make a front there, not started yet."""
        if self.kind.startswith("native"):
            return NativeFront(self.address, serving)
        tls = ServerTls(self.files, Clients(CLIENTS), time.time) if self.files else None
        return GrpcioFront(self.address, serving, LAST_RESORT, tls, **sizes)

    @contextmanager
    def channel(self, pair: Pair | None = None, **options: int) -> Iterator[grpc.Channel]:
        """Connect as one that may ask, or with another certificate."""
        listed = [("grpc.use_local_subchannel_pool", 1), *((f"grpc.{k}", v) for k, v in options.items())]
        if self.files is None:
            channel = grpc.insecure_channel(str(self.address), options=listed)
        else:
            shown = pair or envoys_pair()
            credentials = grpc.ssl_channel_credentials(authority().cert, shown.key, shown.cert)
            channel = grpc.secure_channel(str(self.address), credentials, options=listed)
        with channel:
            yield channel

    @contextmanager
    def client(self, pair: Pair | None = None) -> Iterator[Ask]:
        """Yield a function from the bytes of a check to the bytes of its answer; see `tests.support.grpc`."""
        with self.channel(pair) as channel:
            grpc.channel_ready_future(channel).result(timeout=10)
            yield channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)


def taken(front: Front, most: int = 64, timeout_s: float = 10.0) -> list[Any]:
    """Take at least one call; [] where none comes in time."""
    end = time.monotonic() + timeout_s
    found: list[Any] = []
    while not found and time.monotonic() < end:
        found = [*(front.take(most, 50) or ())]
    return found

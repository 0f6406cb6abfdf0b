"""Services, as a node's proxy makes them: who connects to a Service's address is led to one of its pods."""

from __future__ import annotations

import itertools
import socket
import threading
from contextlib import suppress
from typing import NamedTuple

from tests.kube.api import Api
from tests.kube.node.network import Network

_CHUNK = 65_536
_BACKLOG = 64


class Endpoint(NamedTuple):
    """Where a Service sends.

    Args:
        address: of a pod.
        port: the number that the Service's `targetPort` came to in that pod.
        name: of the Service's port, "" where it has none.
    """

    address: str
    port: int
    name: str


def endpoints(api: Api, namespace: str, service: str) -> list[Endpoint]:
    """Return where a Service sends now, as the controller of the cluster has worked it out."""
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    slices = api.items(f"{path}?labelSelector=kubernetes.io%2Fservice-name%3D{service}")
    return [
        Endpoint(each["addresses"][0], port["port"], port.get("name", ""))
        for one in slices
        for each in one["endpoints"] or ()
        for port in one["ports"] or ()
        if each["conditions"].get("ready")
    ]


class ServiceProxy:
    """Answers at one Service's address until it is closed; each connection goes to the next of its pods.

    Args:
        api: where the Service and its endpoints are asked, at each connection anew.
        network: of the node.
    """

    def __init__(self, api: Api, network: Network, namespace: str, service: str) -> None:
        self._api, self._network = api, network
        self._namespace, self._service = namespace, service
        self._turn = itertools.count()
        stored = api.get("services", namespace, service)
        assert stored is not None, f"there is no Service {service}"
        self.address: str = stored["spec"]["clusterIP"]
        network.own_address(self.address)
        self._doors = [self._open(port["port"], port.get("name", "")) for port in stored["spec"]["ports"]]

    def close(self) -> None:
        """Answer no more; who is connected stays so."""
        for door in self._doors:
            with suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)  # wakes who waits in `accept`
            door.close()

    def _open(self, port: int, name: str) -> socket.socket:
        door = self._network.socket()
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((self.address, port))
        door.listen(_BACKLOG)
        threading.Thread(target=self._serve, args=(door, name), name=self._service, daemon=True).start()
        return door

    def _serve(self, door: socket.socket, name: str) -> None:
        while True:
            try:
                client = door.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._join, args=(client, name), name=self._service, daemon=True).start()

    def _join(self, client: socket.socket, name: str) -> None:
        """Lead a connection on; without endpoints it is closed, which a real proxy refuses at once."""
        with client, suppress(OSError):
            found = [
                each for each in endpoints(self._api, self._namespace, self._service) if each.name == name
            ]
            if not found:
                return
            chosen = found[next(self._turn) % len(found)]
            with self._network.connect(chosen.address, chosen.port) as server:
                server.settimeout(None)
                back = threading.Thread(target=_pump, args=(server, client), name=self._service, daemon=True)
                back.start()
                _pump(client, server)
                back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes, and then that nothing more will."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)

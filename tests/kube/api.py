"""The API server asked directly, over a connection that stays: far quicker than a command each time."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.kube.cluster import Cluster

Object = dict[str, Any]
_TIMEOUT_S = 60.0
_IDLE_S = 30.0  # the server hangs up after ninety
_MERGE = "application/strategic-merge-patch+json"
_JSON = "application/json"
_NAMES = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Answer(NamedTuple):
    """What the API server answered."""

    status: int
    body: Object


class Api:
    """Asks as the administrator. Each thread has a connection of its own."""

    def __init__(self, cluster: Cluster) -> None:
        parts = urlsplit(cluster.url)
        self._host, self._port = parts.hostname or "", parts.port
        self._token = cluster.token
        self._trust = ssl.create_default_context(cafile=str(cluster.ca))
        self._lines = threading.local()
        self._open: list[http.client.HTTPSConnection] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        kind: str = _JSON,
        accept: str = _JSON,
    ) -> Answer:
        """Send a request and return the answer, whatever it is."""
        headers = {"authorization": f"Bearer {self._token}", "content-type": kind, "accept": accept}
        line = self._line()
        try:
            line.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = line.getresponse()
            return Answer(answer.status, json.loads(answer.read()))
        except BaseException:
            line.close()  # or the next answer would be this one's
            raise

    def get(self, kind: str, namespace: str, name: str = "") -> Object | None:
        """Return an object of `core/v1` as stored, or the list of all of its kind; None where there is none.

        Args:
            kind: in plural.
            namespace: "" for those of every namespace.
            name: "" for the list.
        """
        answer = self.ask("GET", _path(kind, namespace, name))
        assert answer.status in (200, 404), answer
        return answer.body if answer.status == 200 else None

    def change(self, kind: str, namespace: str, name: str, **fields: Any) -> Object:
        """Merge fields into an object of `core/v1`."""
        return self._changed(_path(kind, namespace, name), fields)

    def report(self, namespace: str, pod: str, status: Mapping[str, Any]) -> None:
        """Say how a pod is, as its kubelet does; a pod that is gone needs no report."""
        path = f"{_path('pods', namespace, pod)}/status"
        answer = self.ask("PATCH", path, {"status": status}, _MERGE)
        assert answer.status in (200, 404), answer

    def remove(self, kind: str, namespace: str, name: str, grace_s: int | None = None) -> None:
        """Delete an object, unless it is gone."""
        options = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        answer = self.ask("DELETE", _path(kind, namespace, name), options)
        assert answer.status in (200, 202, 404), answer

    def items(self, path: str) -> list[Object]:
        """Return a list of any group, by its path."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer
        return list(answer.body["items"])

    def named(self, path: str) -> list[Object]:
        """Return the metadata alone of a list of any group."""
        answer = self.ask("GET", path, accept=_NAMES)
        assert answer.status == 200, answer
        return list(answer.body["items"] or ())

    def close(self) -> None:
        """Hang up."""
        for line in self._open:
            line.close()

    def _changed(self, path: str, fields: Mapping[str, Any]) -> Object:
        answer = self.ask("PATCH", path, fields, "application/merge-patch+json")
        assert answer.status == 200, answer
        return answer.body

    def _line(self) -> http.client.HTTPSConnection:
        line = getattr(self._lines, "line", None)
        idle_s = time.monotonic() - getattr(self._lines, "used", 0.0)
        self._lines.used = time.monotonic()
        if isinstance(line, http.client.HTTPSConnection) and idle_s > _IDLE_S:
            line.close()  # it opens itself again
        if not isinstance(line, http.client.HTTPSConnection):
            line = http.client.HTTPSConnection(
                self._host, self._port, timeout=_TIMEOUT_S, context=self._trust
            )
            self._lines.line = line
            self._open.append(line)
        return line


def _path(kind: str, namespace: str, name: str) -> str:
    where = f"namespaces/{namespace}/" if namespace else ""
    return f"/api/v1/{where}{kind}" + (f"/{name}" if name else "")

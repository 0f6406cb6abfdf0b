"""An API server that is none: one Secret, one webhook configuration, some pods, and a clock that is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from authz.admission.census import Seen
from authz.admission.kube import Conflict, Known, Stored, Unreachable

NOW_S = 1_800_000_000.0


class FakeKube:
    """Does what `authz.admission.kube.Kube` says, in memory.

    Args:
        webhooks: names of the webhooks in the configuration.
    """

    def __init__(self, webhooks: Sequence[str] = ("inject.sidecar.authz",)) -> None:
        self.time_s = NOW_S
        self.away = False
        self.stored: dict[str, str] | None = {}  # as the chart renders it; None: deleted
        self.bundles: dict[str, bytes] = dict.fromkeys(webhooks, b"")
        self.listed: list[Seen] = []
        self.writes: list[str] = []
        self.meanwhile: list[object] = []  # what others do between a read of ours and the write after it
        self._version = 1

    def now_s(self) -> float:
        """The time that was set."""
        return self.time_s

    def touch(self) -> None:
        """Somebody else changed something."""
        self._version += 1

    def secret(self, namespace: str, name: str) -> Stored | None:
        """Return the Secret."""
        self._reach()
        return None if self.stored is None else Stored(str(self._version), dict(self.stored))

    def write(self, namespace: str, name: str, data: Mapping[str, str], stored: Stored) -> None:
        """Write the Secret."""
        self._reach()
        self._require(stored.version)
        self.stored = dict(data)
        self._done("write")

    def webhooks(self, name: str) -> Known:
        """Return the configuration."""
        self._reach()
        return Known(str(self._version), dict(self.bundles))

    def introduce(self, name: str, known: Known, bundle: bytes) -> None:
        """Write the bundle. Not refused for a version of its own: objects here have one between them."""
        self._reach()
        self.bundles = dict.fromkeys(self.bundles, bundle)
        self._done("introduce")

    def pods(self, namespace: str, label: str) -> Iterator[Seen]:
        """Yield pods; the server may go away between pages."""
        for pod in self.listed:
            self._reach()
            if namespace in ("*", pod.namespace):
                yield pod
        self._reach()

    def _reach(self) -> None:
        if self.away:
            raise Unreachable("the API server is away")

    def _require(self, version: str) -> None:
        if self.meanwhile:
            self.meanwhile.pop(0)
            self.touch()
        if version != str(self._version):
            raise Conflict("it changed")

    def _done(self, what: str) -> None:
        self.writes.append(what)
        self.touch()

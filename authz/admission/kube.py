"""What this room asks of an API server, whoever speaks to it: `cluster.py` does, and tests pretend to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from authz.admission.census import Seen
from authz.model.errors import AuthzError


class Unreachable(AuthzError):
    """The API server did not do what it was asked. One line: what, and what it said."""


class Conflict(AuthzError):
    """Somebody else changed it since it was read: read again."""


class Stored(NamedTuple):
    """A Secret as it stands."""

    version: str  # of the object, for whoever changes it
    data: Mapping[str, str]  # its keys, base64


class Known(NamedTuple):
    """The webhook configuration as it stands."""

    version: str
    bundles: Mapping[str, bytes]  # name of a webhook -> the CAs by which the API server knows it, PEM


class Kube(Protocol):
    """An API server. Each call raises `Unreachable` where it fails."""

    def now_s(self) -> float:
        """Return the time by the API server's clock, seconds since 1970: it is who judges certificates."""
        ...

    def secret(self, namespace: str, name: str) -> Stored | None:
        """Return a Secret; None where there is none."""
        ...

    def write(self, namespace: str, name: str, data: Mapping[str, str], stored: Stored) -> None:
        """Give a Secret other keys; what else stands in it stays.

        Raises:
            Conflict: it is not what `stored` says any more.
        """
        ...

    def webhooks(self, name: str) -> Known:
        """Return what the API server knows of a webhook configuration."""
        ...

    def introduce(self, name: str, known: Known, bundle: bytes) -> None:
        """Have the API server know every webhook of a configuration by these CAs.

        Raises:
            Conflict: it is not what `known` says any more.
        """
        ...

    def pods(self, namespace: str, label: str) -> Iterator[Seen]:
        """Yield the pods that carry a label with the value `true` and are not over, page by page.

        Args:
            namespace: where to look; `*`: everywhere.
            label: its key.
        """
        ...

"""TLS of one listener: its certificate, whose certificates it takes, and who of them may ask.

Files are looked at when somebody connects, at most once a second: whoever replaces them (a ConfigMap's swap,
cert-manager, SPIRE's helper) sends no signal. What cannot be used never replaces what can.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

import grpc

from authz.config.log import get_logger
from authz.config.rooms import TlsSettings
from authz.model.errors import ConfigError
from authz.record.facts import TlsFacts
from authz.transport import certificate
from authz.transport.certificate import Files, Material

ANY_CLIENT = "*"

_LOOK_S = 1.0
# One segment of a SPIFFE id: no escapes, no query, no dots alone. Source: SPIFFE-ID, section 2.2.
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]+")

_STRANGER_LOG_S = 10.0  # a stranger that asks 1,000 times a second gets a line, and a number in the next

_log = get_logger("transport")


class Clients:
    """Which certificates of our CA may ask: the whole mesh has one.

    Args:
        patterns: SPIFFE ids; `*` as the last segment stands for exactly one. `"*"` alone: every certificate.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.everyone = ANY_CLIENT in patterns
        self._exact = frozenset(one for one in patterns if not one.endswith("/*"))
        self._parents = frozenset(one.removesuffix("/*") for one in patterns if one.endswith("/*"))

    def admit(self, spiffe_id: str) -> bool:
        """Whether the holder of this id may ask; "" has none."""
        if self.everyone or spiffe_id in self._exact:
            return True
        parent, _, last = spiffe_id.rpartition("/")
        return parent in self._parents and _SEGMENT.fullmatch(last) is not None


def server_tls(settings: TlsSettings, wall_s: Callable[[], float]) -> ServerTls:
    """Return what the settings say.

    Raises:
        ConfigError: the files cannot be used.
    """
    files = certificate.named(settings)
    return ServerTls(files, Clients(settings.tls_clients) if files.client_ca else None, wall_s)


class ServerTls:
    """Secures one listener.

    Args:
        clients: who may ask; None where no certificates are asked for.
        wall_s: seconds since 1970.

    Raises:
        ConfigError: the files cannot be used.
    """

    def __init__(self, files: Files, clients: Clients | None, wall_s: Callable[[], float]) -> None:
        self._files = files
        self._clients = clients if clients is not None and not clients.everyone else None
        self._wall_s = wall_s
        self._lock = Lock()  # handshakes come on several threads
        self._seen = self._marks()
        self._material = certificate.read(files, wall_s())
        self._next_look_s = 0.0
        self._said = ""
        self._offered = self._material  # what the library was told last
        self.reloads: Counter[str] = Counter()
        self.strangers = 0
        self._next_line_s = 0.0
        self._unlogged = 0

    def facts(self) -> TlsFacts:
        """Return what metrics say; looks at the files first, since perhaps nobody has connected for long."""
        with self._lock:
            self._look()
            return TlsFacts(self._material.expiry_s, dict(self.reloads), self.strangers)

    def credentials(self) -> Any:
        """Return what makes a port of grpcio's a secure one."""
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._material),
            self._fetch,
            require_client_authentication=self._files.client_ca is not None,
        )

    def admits(self, context: Any) -> bool:
        """Whether the caller of a call may ask; a stranger is counted and, now and then, logged."""
        if self._files.client_ca is None:
            return True
        # SECURITY: two readings of the certificate must agree. The library's is exactly one URI in the form
        # of SPIFFE, but it ends at a NUL, and the CA may have signed for somebody else with what follows.
        # Its list of names would not do: there a name of any other kind looks alike. And per call: a
        # connection's address says nothing, since the next one may come from the same.
        proven = context.auth_context()
        shown = certificate.shown(_only(proven, "x509_pem_cert"))
        spiffe_id = _only(proven, "peer_spiffe_id").decode("utf-8", "replace")
        if spiffe_id != shown.spiffe_id:
            spiffe_id = ""
        if self._clients is not None and not self._clients.admit(spiffe_id):
            self._turned_away(spiffe_id, "its certificate is not in `tls_clients`")
            return False
        # SECURITY: the library looks at the time when a connection begins, and not even then where a session
        # is resumed, which it allows for two days.
        if shown.expires_s <= self._wall_s():
            self._turned_away(spiffe_id, "its certificate expired after it first connected")
            return False
        return True

    def _turned_away(self, spiffe_id: str, why: str) -> None:
        with self._lock:
            self.strangers += 1
            now_s = self._wall_s()
            if 0 < self._next_line_s - now_s <= _STRANGER_LOG_S:  # a clock that was set back silences nobody
                self._unlogged += 1
                return
            unlogged, self._unlogged = self._unlogged, 0
            self._next_line_s = now_s + _STRANGER_LOG_S
        _log.warning(
            "a caller was turned away",
            why=why,
            caller=spiffe_id or "no SPIFFE id",
            unlogged=unlogged,
        )

    def _fetch(self) -> Any:
        """Tell the library about new files, before a handshake; None where there are none."""
        with self._lock:
            self._look()
            if self._material is self._offered:
                return None
            self._offered = self._material
            return _configuration(self._material)

    def _look(self) -> None:
        """Take in files that changed and are good."""
        now_s = self._wall_s()
        if 0 <= self._next_look_s - now_s <= _LOOK_S:  # a clock that was set back does not stop us
            return
        self._next_look_s = now_s + _LOOK_S
        marks = self._marks()
        if marks == self._seen:
            return
        try:
            self._material = certificate.read(self._files, now_s)
        except ConfigError as fault:
            self._keep(str(fault))
            return
        # Read after the marks: what changed in between differs from them, and is looked at again.
        self._seen, self._said = marks, ""
        self.reloads["accepted"] += 1
        _log.info("certificates reloaded", expiry_s=dict(self._material.expiry_s))

    def _keep(self, fault: str) -> None:
        """Stay with what we have. It is tried again at each look: half of a pair may be written."""
        if fault != self._said:
            self._said = fault
            self.reloads["rejected"] += 1
            _log.error("new certificates cannot be used; the last good ones are kept", fault=fault)

    def _marks(self) -> tuple[tuple[int, ...] | None, ...]:
        """What tells one state of the files from another; links are followed."""
        return tuple(_mark(path) for path in self._files if path is not None)


def _only(proven: Mapping[str, Sequence[bytes]], name: str) -> bytes:
    """Return what is known once of a caller; empty where it is not known, or twice."""
    found = proven.get(name, ())
    return found[0] if len(found) == 1 else b""


def _mark(path: Any) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def _configuration(material: Material) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.cert)], root_certificates=material.client_ca
    )

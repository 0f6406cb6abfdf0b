"""Sinks over TLS: who is trusted, who is not, and certificates that are replaced."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives import serialization

from authz.model.sink import parse_sink
from authz.shipping.delivery import Unavailable
from authz.shipping.errand import Access
from authz.shipping.http import HttpSink
from authz.shipping.tls import client_context, material
from tests.support.batches import records
from tests.support.certificates import DAY, Authority, Pair
from tests.support.collector import Collector, collector, server_context

CA, OURS = r"^`record_ca`: ", r"^`record_cert` or `record_key`: "


@dataclass
class Site:
    """A CA, a collector that it vouches for, and where files are."""

    ca: Authority
    home: Path
    it: Collector

    def access(self, **changes: Path) -> Access:
        return Access(timeout_s=10, **{"ca": self.ca.written(self.home), **changes})  # type: ignore[arg-type]

    def deliver(self, access: Access, host: str = "127.0.0.1") -> None:
        sink = HttpSink(parse_sink(f"https://{host}:{self.it.port}/"), access, "http")
        try:
            sink.deliver(records(1, 3))
        finally:
            sink.close()


def _serving(home: Path, pair: Pair, client_ca: Path | None = None) -> ssl.SSLContext:
    return server_context(*pair.written(home, "server"), client_ca)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home, ca = tmp_path_factory.mktemp("tls"), Authority()
    with collector(_serving(home, ca.server())) as it:
        yield Site(ca, home, it)


def test_a_server_that_our_ca_vouches_for_is_asked(site: Site) -> None:
    site.it.clear()
    site.deliver(site.access())
    site.deliver(site.access(), host="localhost")
    assert len(site.it.lines()) == 6


def test_a_server_that_another_ca_vouches_for_learns_nothing(site: Site) -> None:
    site.it.clear()
    other = Authority("another CA").written(site.home, "other")
    with pytest.raises(Unavailable, match=r"its certificate is not to be trusted \(.*\)$"):
        site.deliver(site.access(ca=other))
    assert site.it.posted == []


def test_without_a_ca_of_ours_the_systems_are_asked_and_do_not_know_it(site: Site) -> None:
    with pytest.raises(Unavailable, match="its certificate is not to be trusted"):
        site.deliver(Access(timeout_s=10))


def test_a_certificate_for_another_name_is_not_taken(tmp_path: Path) -> None:
    ca = Authority()
    with collector(_serving(tmp_path, ca.vouch(dns=["elsewhere.test"]))) as it:
        there = Site(ca, tmp_path, it)
        with pytest.raises(Unavailable, match=r"not to be trusted \(.*mismatch.*\)"):
            there.deliver(there.access())


def test_a_certificate_that_has_ended_is_not_taken(tmp_path: Path) -> None:
    ca = Authority()
    with collector(_serving(tmp_path, ca.server(begins=-2 * DAY, ends=-timedelta(hours=1)))) as it:
        there = Site(ca, tmp_path, it)
        with pytest.raises(Unavailable, match=r"not to be trusted \(certificate has expired\)"):
            there.deliver(there.access())


def test_a_server_that_asks_who_we_are_is_told(tmp_path: Path) -> None:
    ca = Authority()
    cert, key = ca.vouch("spiffe://prod/ns/web/sa/authz").written(tmp_path, "client")
    with collector(_serving(tmp_path, ca.server(), ca.written(tmp_path))) as it:
        there = Site(ca, tmp_path, it)
        there.deliver(there.access(cert=cert, key=key))
        assert len(it.lines()) == 3
        with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:\d+: "):
            there.deliver(there.access())


def test_a_kept_connection_over_tls_carries_every_batch(site: Site) -> None:
    site.it.clear()
    before = site.it.connections
    sink = HttpSink(parse_sink(site.it.url), site.access(), "http")
    sink.deliver(records(1, 5000))  # more than a buffer holds
    for seq in range(5001, 5005):
        sink.deliver(records(seq, seq))
    sink.close()
    assert len(site.it.lines()) == 5004
    assert site.it.connections == before + 1


def test_a_certificate_that_is_replaced_is_used_by_the_next_connection(site: Site, tmp_path: Path) -> None:
    path = Authority("an old CA").written(tmp_path)
    access = site.access(ca=path)
    with pytest.raises(Unavailable):
        site.deliver(access)
    path.write_bytes(site.ca.cert)
    site.deliver(access)


def _plain(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_server_that_speaks_no_tls_is_an_outage() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_plain, args=(listener,), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        sink = HttpSink(parse_sink(url), Access(timeout_s=10), "http")
        with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:\d+: no TLS \([a-z_]+\)$"):
            sink.deliver(records(1, 1))


def test_a_handshake_that_never_ends_is_an_outage_by_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []
        Thread(target=lambda: taken.append(listener.accept()[0]), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        sink = HttpSink(parse_sink(url), Access(timeout_s=0.2), "http")
        with pytest.raises(Unavailable, match=r"does not answer in time$"):
            sink.deliver(records(1, 1))
        for one in taken:
            one.close()


# --- files that cannot be used


@pytest.mark.parametrize("made", [client_context, material])
def test_files_that_cannot_be_used_are_an_outage_that_says_so(
    site: Site, tmp_path: Path, made: object
) -> None:
    assert callable(made)
    cert, key = site.ca.vouch("spiffe://prod/x").written(tmp_path, "client")
    _, other_key = site.ca.vouch("spiffe://prod/y").written(tmp_path, "other")
    (garbage := tmp_path / "garbage").write_bytes(b"no certificate")
    for access, why in (
        (site.access(ca=tmp_path / "none"), CA + "no such file or directory$"),
        (site.access(ca=garbage), CA + r"no use as PEM \(.*\)$"),
        (site.access(cert=garbage, key=key), OURS + r"no use as PEM \(.*\)$"),
        (site.access(cert=cert, key=other_key), OURS + r"no use as PEM \(key_values_mismatch\)$"),
        (site.access(cert=cert, key=tmp_path / "none"), OURS + "no such file or directory$"),
    ):
        with pytest.raises(Unavailable, match=why):
            made(access)


def test_a_key_with_a_passphrase_asks_nobody(site: Site, tmp_path: Path) -> None:
    cert, key = site.ca.vouch("spiffe://prod/x").written(tmp_path, "client")
    locked = serialization.BestAvailableEncryption(b"secret")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, locked))
    with pytest.raises(Unavailable, match=OURS):
        client_context(site.access(cert=cert, key=key))


def test_old_versions_of_tls_are_not_spoken() -> None:
    assert client_context(Access()).minimum_version is ssl.TLSVersion.TLSv1_2


# --- as the library for gRPC wants it


def test_material_is_what_the_files_hold(site: Site, tmp_path: Path) -> None:
    pair = site.ca.vouch("spiffe://prod/x")
    cert, key = pair.written(tmp_path, "client")
    made = material(site.access(cert=cert, key=key))
    assert made == (site.ca.cert, pair.key, pair.cert)
    assert "PRIVATE" not in repr(made)
    assert "PRIVATE" not in str(made)


def test_without_a_ca_of_ours_the_systems_list_is_read(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", os.fspath(site.ca.written(site.home)))
    assert material(Access()).roots == site.ca.cert


def test_a_machine_without_such_a_list_leaves_it_to_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setattr("authz.shipping.tls._SYSTEM_CAS", (os.fspath(tmp_path / "none"),))
    none = ssl.get_default_verify_paths()._replace(cafile="")
    monkeypatch.setattr("ssl.get_default_verify_paths", lambda: none)
    assert material(Access()).roots is None

"""Certificates are replaced while serving, never by ones that cannot be used; and who of a mesh may ask."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from authz.config.rooms import TlsSettings
from authz.model.errors import ConfigError
from authz.transport.certificate import Files
from authz.transport.tls import Clients, ServerTls, server_tls
from tests.support.certificates import DAY, ENVOY, Authority
from tests.support.sets import events

NOW_S = time.time()
HOUR_S = 3600  # between the reading of this file and its tests others run; certificates differ by days
RELOADED, KEPT = "certificates reloaded", "new certificates cannot be used; the last good ones are kept"


class Clock:
    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


class Made:
    """A listener's files, what serves them, and a handshake by hand."""

    def __init__(self, directory: Path) -> None:
        self.ca, self.clock, self.directory = Authority(), Clock(), directory
        cert, key = self.ca.server().written(directory, "server")
        self.files = Files(cert, key, self.ca.written(directory))
        self.tls = ServerTls(self.files, Clients([ENVOY]), self.clock)

    def handshake(self, after_s: float = 2.0) -> bool:
        """Whether a caller who comes so much later is served with other files than the last."""
        self.clock.now_s += after_s
        return self.tls._fetch() is not None


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "tls")


def test_files_that_stay_are_not_read_again(made: Made) -> None:
    assert not made.handshake()
    assert not made.handshake()
    assert made.tls.facts().reloads == {}


def test_a_new_pair_is_served_to_the_next_who_connects(made: Made) -> None:
    with capture_logs() as logs:
        made.ca.server(ends=3 * DAY).written(made.directory, "server")
        assert made.handshake()
        assert not made.handshake()
    assert len(events(logs, RELOADED)) == 1
    facts = made.tls.facts()
    assert facts.reloads == {"accepted": 1}
    assert facts.expiry_s["server"] == pytest.approx(NOW_S + 3 * 86400, abs=HOUR_S)


def test_files_are_looked_at_once_a_second(made: Made) -> None:
    assert not made.handshake()
    made.ca.server().written(made.directory, "server")
    assert not made.handshake(after_s=0.5)
    assert made.handshake(after_s=0.6)


def test_a_clock_that_is_set_back_does_not_stop_the_looking(made: Made) -> None:
    assert not made.handshake()
    made.ca.server().written(made.directory, "server")
    assert made.handshake(after_s=-3600)


def test_a_swap_of_links_is_seen(tmp_path: Path) -> None:
    """As a mounted ConfigMap or Secret does it."""
    ca = Authority()
    for name in ("one", "two"):
        ca.server().written(tmp_path / name, "server")
        ca.written(tmp_path / name)
    (tmp_path / "data").symlink_to("one")
    clock, at = Clock(), tmp_path / "data"
    tls = ServerTls(Files(at / "server.crt", at / "server.key", at / "ca.crt"), None, clock)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "data")
    clock.now_s += 2
    assert tls._fetch() is not None
    assert tls._material.cert == (tmp_path / "two" / "server.crt").read_bytes()


def test_half_of_a_pair_is_kept_out_until_the_other_half_is_there(made: Made) -> None:
    good, pair = made.tls._material, made.ca.server()
    with capture_logs() as logs:
        (made.directory / "server.crt").write_bytes(pair.cert)
        assert not made.handshake()
        assert not made.handshake()
        assert made.tls._material is good
        (made.directory / "server.key").write_bytes(pair.key)
        assert made.handshake()
    assert len(events(logs, KEPT)) == 1
    assert made.tls.facts().reloads == {"rejected": 1, "accepted": 1}


def _expired(made: Made) -> None:
    made.ca.server(begins=-3 * DAY, ends=-DAY).written(made.directory, "server")


def _early(made: Made) -> None:
    made.ca.server(begins=DAY, ends=2 * DAY).written(made.directory, "server")


def _gone(made: Made) -> None:
    (made.directory / "server.key").unlink()


def _empty(made: Made) -> None:
    (made.directory / "server.crt").write_bytes(b"")


def _garbage(made: Made) -> None:
    (made.directory / "server.key").write_bytes(
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    )


def _old_ca(made: Made) -> None:
    Authority(begins=-3 * DAY, ends=-DAY).written(made.directory)


def _huge_ca(made: Made) -> None:
    (made.directory / "ca.crt").write_bytes(b"x" * (1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_expired, "expired at"),
        (_early, "not valid before"),
        (_gone, "no such file"),
        (_empty, "holds no certificate"),
        (_garbage, "holds no private key"),
        (_old_ca, "ca.crt: expired at"),
        (_huge_ca, "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_used_replaces_nothing_and_starts_nothing(made: Made, spoil: Any, words: str) -> None:
    good = made.tls._material
    with capture_logs() as logs:
        spoil(made)
        assert not made.handshake()
        assert made.tls._material is good
    (line,) = events(logs, KEPT)
    assert words in line["fault"]
    assert made.tls.facts().reloads == {"rejected": 1}
    with pytest.raises(ConfigError, match=words) as caught:
        ServerTls(made.files, None, made.clock)
    assert "\n" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_a_key_under_a_passphrase_is_told_so(made: Made) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    locked = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (made.directory / "server.key").write_bytes(locked)
    with pytest.raises(ConfigError, match="locked by a passphrase"):
        ServerTls(made.files, None, made.clock)


def test_of_several_cas_an_old_one_harms_nobody(made: Made) -> None:
    old, new = Authority(begins=-3 * DAY, ends=-DAY), Authority(ends=5 * DAY)
    (made.directory / "ca.crt").write_bytes(old.cert + new.cert)
    assert made.handshake()
    assert made.tls.facts().expiry_s["client_ca"] == pytest.approx(NOW_S + 5 * 86400, abs=HOUR_S)


def test_a_scrape_sees_new_files_though_nobody_connects(made: Made) -> None:
    made.ca.server(ends=7 * DAY).written(made.directory, "server")
    made.clock.now_s += 2
    assert made.tls.facts().expiry_s["server"] == pytest.approx(NOW_S + 7 * 86400, abs=HOUR_S)
    assert made.handshake()  # the library has not been told yet


def test_nothing_shows_the_key(made: Made) -> None:
    assert "PRIVATE" not in repr(made.tls._material)


def test_settings_name_the_files(made: Made) -> None:
    settings = TlsSettings(
        tls_cert=made.files.cert,
        tls_key=made.files.key,
        tls_client_ca=made.files.client_ca,
        tls_clients=("*",),
    )
    assert server_tls(settings, made.clock)._clients is None  # every certificate of that CA
    with pytest.raises(ConfigError, match="name both"):
        server_tls(TlsSettings(tls_cert=made.files.cert), made.clock)


# --- who may ask


@pytest.mark.parametrize(
    ("pattern", "spiffe_id", "may"),
    [
        (ENVOY, ENVOY, True),
        (ENVOY, ENVOY + "/x", False),
        (ENVOY, ENVOY.rpartition("/")[0], False),
        (ENVOY, "", False),
        ("spiffe://prod/ns/web/sa/*", ENVOY, True),
        ("spiffe://prod/ns/web/sa/*", ENVOY + "/x", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa/", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod.evil/ns/web/sa/envoy", False),
        ("spiffe://prod/ns/web/sa/*", "", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa/..", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa/.", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa/%2e%2e%2fx", False),
        ("spiffe://prod/ns/web/sa/*", ENVOY + "?x=1", False),
        ("spiffe://prod/ns/web/sa/*", ENVOY + "#x", False),
        ("spiffe://prod/ns/web/sa/*", ENVOY + "\n", False),
        ("spiffe://prod/ns/web/sa/*", ENVOY + "\0", False),
        ("spiffe://prod/ns/web/sa/*", "spiffe://prod/ns/web/sa/..x", True),
        ("spiffe://prod/*", "spiffe://prod/x", True),
        ("spiffe://prod/*", "spiffe://prod", False),
        ("*", "", True),
    ],
)
def test_a_star_is_one_whole_segment(pattern: str, spiffe_id: str, may: bool) -> None:
    assert Clients([pattern]).admit(spiffe_id) is may


def test_strangers_are_logged_once_in_a_while_with_the_number_of_the_others(made: Made) -> None:
    stranger, known = _call(made, "spiffe://prod/x"), _call(made, ENVOY)
    with capture_logs() as logs:
        for _ in range(5):
            assert not made.tls.admits(stranger)
        assert made.tls.admits(known)
        made.clock.now_s += 20
        assert not made.tls.admits(stranger)
    assert [line["unlogged"] for line in logs] == [0, 4]
    assert made.tls.facts().strangers == 6


def _call(made: Made, spiffe_id: str, *, ends: timedelta = DAY) -> Any:
    shown = made.ca.vouch(spiffe_id, ends=ends).cert
    proven = {"peer_spiffe_id": [spiffe_id.encode()], "x509_pem_cert": [shown]}
    return SimpleNamespace(auth_context=lambda: proven)


@pytest.mark.parametrize("clients", [ENVOY, "*"])
def test_who_is_still_connected_when_its_certificate_expires_may_not_ask_any_more(
    made: Made, clients: str
) -> None:
    """Nor whoever resumes a session with it: the library does not look at the time then."""
    tls = ServerTls(made.files, Clients([clients]), made.clock)
    call = _call(made, ENVOY, ends=DAY / 2)
    assert tls.admits(call)
    made.clock.now_s += 13 * 3600
    with capture_logs() as logs:
        assert not tls.admits(call)
    assert logs[0]["why"] == "its certificate expired after it first connected"
    assert not tls.admits(SimpleNamespace(auth_context=dict))


def test_where_no_certificates_are_asked_for_everybody_may_ask(made: Made) -> None:
    tls = ServerTls(made.files._replace(client_ca=None), None, made.clock)
    assert tls.admits(SimpleNamespace(auth_context=dict))

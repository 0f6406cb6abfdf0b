"""Whose token it is, and that refusals cost alike."""

from __future__ import annotations

import tracemalloc
from hmac import HMAC
from ipaddress import ip_network

import pytest

from authz.identity import keyring as module
from authz.identity.apikey import digest_under, new_token
from authz.identity.keyring import Key, Keyring, KeySecret, Network, Peppers
from authz.model.errors import ConfigError
from authz.model.identity import ANONYMOUS
from authz.model.reason import Detail
from authz.model.request import NOWHERE
from tests.support.keys import KEY_ID, OTHER_PEPPER, PEPPER, SECRET, TOKEN, kept, key, keyring, token
from tests.support.requests import client

NOW = 1_780_000_000_000_000
HERE = client("203.0.113.7")
OLD, NEW, WRONG = "B" * 43, "C" * 43, "D" * 43


def network(text: str) -> Network:
    parsed = ip_network(text)
    return parsed.version, int(parsed.network_address), int(parsed.broadcast_address)


def rotating(expires_at_us: int | None = NOW + 1) -> Keyring:
    return keyring(key(kept(OLD, 1, expires_at_us=expires_at_us), kept(NEW, 2)))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The versions of the secrets that were hashed, one an HMAC."""
    calls: list[int] = []

    def counting(pepper: HMAC, key_id: str, version: int, secret: str) -> bytes:
        calls.append(version)
        return digest_under(pepper, key_id, version, secret)

    monkeypatch.setattr(module, "digest_under", counting)
    return calls


def test_a_good_token_proves_its_key() -> None:
    held = key()
    assert keyring(held).verify(TOKEN, NOW, HERE, {"partner-keys"}) is held


def test_both_secrets_of_a_rotation_prove_their_key() -> None:
    ring = rotating()
    assert isinstance(ring.verify(token(secret=OLD), NOW, HERE), Key)
    assert isinstance(ring.verify(token(secret=NEW), NOW, HERE), Key)


def test_the_old_secret_ends_exactly_at_its_expiry() -> None:
    ring = rotating(expires_at_us=NOW)
    assert isinstance(ring.verify(token(secret=OLD), NOW - 1, HERE), Key)
    assert ring.verify(token(secret=OLD), NOW, HERE) is Detail.KEY_EXPIRED
    assert isinstance(ring.verify(token(secret=NEW), NOW, HERE), Key)


def test_a_key_ends_exactly_at_its_expiry() -> None:
    ring = keyring(key(expires_at_us=NOW))
    assert isinstance(ring.verify(TOKEN, NOW - 1, HERE), Key)
    assert ring.verify(TOKEN, NOW, HERE) is Detail.KEY_EXPIRED


def test_a_key_begins_exactly_at_not_before() -> None:
    ring = keyring(key(not_before_us=NOW))
    assert ring.verify(TOKEN, NOW - 1, HERE) is Detail.KEY_NOT_YET_VALID
    assert isinstance(ring.verify(TOKEN, NOW, HERE), Key)


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("203.0.113.0", True),
        ("203.0.113.255", True),
        ("203.0.112.255", False),
        ("203.0.114.0", False),
        ("2001:db8::", True),
        ("2001:db8:0:ffff:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1::", False),
        ("::cb00:7107", False),  # the number of 203.0.113.7, in the other family
        ("", False),
    ],
)
def test_a_key_with_networks_is_good_only_inside_them(address: str, inside: bool) -> None:
    ring = keyring(key(networks=(network("203.0.113.0/24"), network("2001:db8::/48"))))
    verdict = ring.verify(TOKEN, NOW, client(address))
    assert isinstance(verdict, Key) if inside else verdict is Detail.KEY_ADDRESS


def test_a_key_without_networks_is_good_anywhere() -> None:
    assert isinstance(keyring().verify(TOKEN, NOW, NOWHERE), Key)


REFUSALS = [
    (keyring(), token(key_id="zzzzzzzzzzzz"), Detail.KEY_UNKNOWN),
    (keyring(), token(secret=WRONG), Detail.KEY_SECRET_WRONG),
    (rotating(), token(secret=WRONG), Detail.KEY_SECRET_WRONG),
    (rotating(NOW), token(secret=OLD), Detail.KEY_EXPIRED),
    (keyring(key(enabled=False)), TOKEN, Detail.KEY_REVOKED),
    (keyring(key(enabled=False)), token(secret=WRONG), Detail.KEY_SECRET_WRONG),
    (keyring(key(customer_enabled=False)), TOKEN, Detail.CUSTOMER_DISABLED),
    (keyring(key(expires_at_us=NOW)), TOKEN, Detail.KEY_EXPIRED),
    (keyring(key(not_before_us=NOW + 1)), TOKEN, Detail.KEY_NOT_YET_VALID),
    (keyring(key(networks=(network("198.51.100.0/24"),))), TOKEN, Detail.KEY_ADDRESS),
    (keyring(key(provider="others")), TOKEN, Detail.CREDENTIAL_NOT_OWNED),
    (keyring(key(kept(pepper=OTHER_PEPPER))), TOKEN, Detail.PEPPER_MISSING),
    (keyring(key(kept(OLD, 1), kept(NEW, 2), enabled=False)), token(secret=OLD), Detail.KEY_REVOKED),
    (keyring(key(kept(OLD, 1), kept(NEW, 2), enabled=False)), token(secret=NEW), Detail.KEY_REVOKED),
]


@pytest.mark.parametrize(("ring", "text", "cause"), REFUSALS)
def test_every_refusal_of_a_well_formed_token_costs_two_hashes(
    ring: Keyring, text: str, cause: Detail, hashed: list[int]
) -> None:
    assert ring.verify(text, NOW, HERE, {"partner-keys"}) is cause
    assert len(hashed) == 2


def test_a_good_current_secret_costs_one_hash(hashed: list[int]) -> None:
    assert isinstance(rotating().verify(token(secret=NEW), NOW, HERE), Key)
    assert hashed == [2]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (TOKEN[:-1] + "n", Detail.CREDENTIAL_MALFORMED),
        ("", Detail.CREDENTIAL_MALFORMED),
        ("sk_live_" + TOKEN[8:], Detail.CREDENTIAL_NOT_OWNED),
    ],
)
def test_a_bad_checksum_or_a_foreign_token_costs_no_hash(text: str, cause: Detail, hashed: list[int]) -> None:
    assert keyring().verify(text, NOW, HERE) is cause
    assert hashed == []


def test_a_digest_copied_under_another_id_verifies_nothing() -> None:
    ring = keyring(key(), key(kept(key_id=KEY_ID), key_id="zzzzzzzzzzzz"))
    assert ring.verify(token(key_id="zzzzzzzzzzzz"), NOW, HERE) is Detail.KEY_SECRET_WRONG


def test_a_digest_copied_under_another_version_verifies_nothing() -> None:
    copied = KeySecret(2, kept().pepper, kept(version=1).digest)
    assert keyring(key(copied)).verify(TOKEN, NOW, HERE) is Detail.KEY_SECRET_WRONG


def test_the_dummy_of_unknown_ids_is_no_key_even_for_its_own_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "digest_under", lambda *_: bytes(32))  # fits every dummy
    ring = Keyring((), Peppers(PEPPER))
    assert ring.verify(TOKEN, NOW, HERE) is Detail.KEY_UNKNOWN
    assert keyring(key()).verify(TOKEN, NOW, HERE) is Detail.KEY_SECRET_WRONG


def test_the_previous_pepper_still_verifies() -> None:
    ring = keyring(key(kept(pepper=OTHER_PEPPER)), peppers=Peppers(PEPPER, OTHER_PEPPER))
    assert isinstance(ring.verify(TOKEN, NOW, HERE), Key)


def test_keys_without_their_pepper_are_disabled_and_counted_and_the_others_work() -> None:
    ring = keyring(key(), key(kept(pepper=OTHER_PEPPER), key_id="zzzzzzzzzzzz"))
    assert ring.disabled == ("zzzzzzzzzzzz",)
    assert ring.disabled_count == 1
    assert isinstance(ring.verify(TOKEN, NOW, HERE), Key)


@pytest.mark.parametrize("peppers", [None, Peppers(), Peppers(None, PEPPER)])
def test_without_a_current_pepper_every_key_is_disabled(peppers: Peppers | None) -> None:
    ring = Keyring((key(),), peppers)
    assert ring.disabled == (KEY_ID,)
    assert ring.verify(TOKEN, NOW, HERE) is Detail.PEPPER_MISSING


@pytest.mark.parametrize("pepper", [b"", b"x" * 31])
def test_a_short_pepper_is_refused_by_name_and_not_shown(pepper: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^API_KEY_SALT: \d+ bytes are too few") as current:
        Peppers(pepper)
    with pytest.raises(ConfigError, match=r"^API_KEY_SALT_PREVIOUS: "):
        Peppers(PEPPER, pepper)
    assert "xxx" not in str(current.value)


def test_peppers_and_digests_are_not_shown() -> None:
    peppers = Peppers(b"CANARY" * 6)
    shown = repr(peppers) + str(peppers) + repr(kept()) + repr(key())
    assert "CANARY" not in shown
    assert repr(peppers) == "Peppers(current=***, previous=None)"
    assert repr(kept().digest)[2:-1] not in shown


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"`{KEY_ID}`: two keys have it"):
        keyring(key(), key())


def test_a_key_has_one_secret_or_two() -> None:
    for secrets in ((), (kept(), kept(), kept())):
        with pytest.raises(ValueError, match="one secret, or two"):
            Key(KEY_ID, "p", ANONYMOUS, secrets)


def test_a_short_digest_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        KeySecret(1, "e09102e2", b"short")


def test_a_keyring_knows_its_keys_by_id() -> None:
    held = key()
    ring = keyring(held)
    assert len(ring) == 1
    assert ring.get(KEY_ID) is held
    assert ring.get("zzzzzzzzzzzz") is None
    assert SECRET not in repr(ring)


def test_ten_thousand_keys_are_small() -> None:
    tokens = [new_token("ak", "live") for _ in range(10_000)]
    tracemalloc.start()
    ring = Keyring((key(kept(t.secret, key_id=t.key_id), key_id=t.key_id) for t in tokens), Peppers(PEPPER))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ring) == 10_000
    assert size / 10_000 < 1_200  # bytes a key

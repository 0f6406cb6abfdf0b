"""A serving certificate and its CA: what it says, and when it is no good."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from cryptography import x509

from authz.admission.certificate import BACKDATED_S, DAY_S, LIFETIME_S, expiry_s, fault, mint

NAMES = ("hook.shop.svc", "127.0.0.1")
NOW_S = 1_800_000_000.0
MADE = mint(NAMES, NOW_S)


def test_it_is_good_for_its_names_and_time() -> None:
    assert fault(MADE, NAMES, NOW_S) == ""
    assert expiry_s(MADE.cert) == NOW_S + LIFETIME_S


def test_it_is_valid_for_clocks_that_are_behind_ours() -> None:
    assert fault(MADE, NAMES, NOW_S - BACKDATED_S) == ""
    assert "not valid before" in fault(MADE, NAMES, NOW_S - BACKDATED_S - 1)


def test_it_ends() -> None:
    assert fault(MADE, NAMES, NOW_S + LIFETIME_S - 1) == ""
    assert "expired" in fault(MADE, NAMES, NOW_S + LIFETIME_S)


def test_its_ca_signs_this_one_alone_and_no_other_ca() -> None:
    ca = x509.load_pem_x509_certificate(MADE.ca)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    cert = x509.load_pem_x509_certificate(MADE.cert)
    assert not cert.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    spoken = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert spoken.get_values_for_type(x509.DNSName) == ["hook.shop.svc"]
    assert spoken.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_no_two_cas_have_a_name_in_common() -> None:
    subjects = {x509.load_pem_x509_certificate(mint(NAMES, NOW_S).ca).subject for _ in range(3)}
    assert len(subjects) == 3


def test_names_longer_than_a_subject_can_be_are_spoken_for() -> None:
    long = f"{'a' * 60}.{'b' * 60}.svc"
    assert fault(mint((long,), NOW_S), (long,), NOW_S) == ""


def test_another_name_is_not_spoken_for() -> None:
    assert "does not speak for" in fault(MADE, ("other.shop.svc",), NOW_S)


OTHER = mint(NAMES, NOW_S)


@pytest.mark.parametrize(
    "broken",
    [
        replace(MADE, ca=OTHER.ca),
        replace(MADE, ca=b""),
        replace(MADE, cert=b"nonsense"),
        replace(MADE, cert=OTHER.cert),
        replace(MADE, key=b"nonsense"),
        replace(MADE, key=OTHER.key),
        replace(MADE, cert=MADE.ca),
    ],
)
def test_parts_that_do_not_belong_together_are_no_good(broken: object) -> None:
    assert fault(broken, NAMES, NOW_S)  # type: ignore[arg-type]  # each is a Generation


def test_its_key_is_not_shown() -> None:
    assert b"PRIVATE" in MADE.key
    assert "PRIVATE" not in repr(MADE)


def test_what_is_no_certificate_expired_long_ago() -> None:
    assert expiry_s(b"nonsense") == 0.0
    assert LIFETIME_S > 60 * DAY_S

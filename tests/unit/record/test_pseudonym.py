from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from hypothesis import given
from hypothesis import strategies as st

from authz.record.pseudonym import Field, Pseudonyms, pseudonym

KEY = b"0123456789abcdef0123456789abcdef"
FIELDS = st.sampled_from(Field)


def test_a_pseudonym_is_a_keyed_hash_that_says_what_it_is() -> None:
    said = b"authz-pseudonym-v1\0customer\0acme"
    expected = urlsafe_b64encode(hmac.digest(KEY, said, "sha256"))[:22].decode()
    assert pseudonym(KEY, "customer", "acme") == f"p:{expected}" == "p:XoAQNeokyQh2T50YbklBxv"


@given(FIELDS, st.text(min_size=1), FIELDS, st.text(min_size=1))
def test_two_names_share_no_pseudonym_nor_two_fields(one: Field, text: str, other: Field, more: str) -> None:
    assert (pseudonym(KEY, one, text) == pseudonym(KEY, other, more)) == ((one, text) == (other, more))


@given(st.text(st.characters(), min_size=1))
def test_any_text_has_one_and_it_shows_nothing_of_it(text: str) -> None:
    made = pseudonym(KEY, "subject", text)
    assert len(made) == 24
    assert made.isascii()
    assert made != pseudonym(KEY[::-1], "subject", text)


def test_nothing_stays_nothing() -> None:
    assert pseudonym(KEY, "customer", "") == ""
    assert Pseudonyms(KEY, ["client_address"]).address("") == ""


def test_only_what_is_listed_is_hidden() -> None:
    hidden = Pseudonyms(KEY, ["customer"])
    assert hidden.of(Field.CUSTOMER, "acme") == pseudonym(KEY, "customer", "acme")
    assert hidden.of(Field.SUBJECT, "me") == "me"
    assert hidden.address("203.0.113.7") == "203.0.113.7"
    assert hidden.hides(Field.CUSTOMER)
    assert not hidden.hides(Field.CLIENT_ADDRESS)


def test_the_subject_of_a_key_does_not_tell_the_id_that_is_hidden() -> None:
    hidden = Pseudonyms(KEY, ["key_id"])
    assert hidden.subject("k7Qm2VxP0aZs", "k7Qm2VxP0aZs") == pseudonym(KEY, "key_id", "k7Qm2VxP0aZs")
    assert hidden.subject("me@example.com", "") == "me@example.com"
    both = Pseudonyms(KEY, ["key_id", "subject"])
    assert both.subject("k7Qm2VxP0aZs", "k7Qm2VxP0aZs") == pseudonym(KEY, "subject", "k7Qm2VxP0aZs")


def test_the_key_is_not_shown() -> None:
    assert KEY.decode() not in repr(Pseudonyms(KEY, ["customer"])) + str(Pseudonyms(KEY, ["customer"]))

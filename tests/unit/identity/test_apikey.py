"""The grammar, checksum and digest of tokens."""

from __future__ import annotations

import zlib

import pytest

from authz.identity.apikey import (
    ALPHABET,
    Token,
    checksum,
    digest,
    encode_digest,
    fingerprint,
    new_token,
    parse_token,
    prefix_of,
)
from authz.model.errors import ConfigError
from authz.model.reason import Detail
from tests.support.keys import KEY_ID, PEPPER, SECRET, TOKEN


def test_the_contracts_test_vector_holds() -> None:
    assert Token("ak", "live", KEY_ID, SECRET).render() == TOKEN
    assert TOKEN.endswith("2Oob3N")
    assert fingerprint(PEPPER) == "e09102e2"
    assert encode_digest(digest(PEPPER, KEY_ID, 2, SECRET)) == "vCJ2Fu0ci8FgespuSLfPHvQG4Q5rlximYSTAGBYbv-g"
    assert encode_digest(digest(PEPPER, KEY_ID, 1, SECRET)) == "MoFSZtaD4A8M8Zqv88J1kuAVp7O4wz7aOgIxwCA0Vbg"


def test_a_well_formed_token_is_read_into_its_parts() -> None:
    assert parse_token(TOKEN, "ak", "live") == Token("ak", "live", KEY_ID, SECRET)


def test_a_new_token_reads_back_and_no_two_are_alike() -> None:
    tokens = [new_token("acme", "test") for _ in range(50)]
    assert [parse_token(token.render(), "acme", "test") for token in tokens] == tokens
    assert len({token.key_id for token in tokens}) == len({token.secret for token in tokens}) == 50


def test_a_new_secret_can_be_made_for_an_old_id() -> None:
    assert new_token("ak", "live", KEY_ID).key_id == KEY_ID


@pytest.mark.parametrize(
    "text",
    [
        TOKEN.replace("ak_live", "ak_test"),
        TOKEN.replace("ak_live", "AK_LIVE"),
        TOKEN.replace("ak_live", "other_live"),
        " " + TOKEN,
        '"' + TOKEN + '"',
        "\u200b" + TOKEN,
        "vCJ2Fu0ci8FgespuSLfPHvQG4Q5rlximYSTAGBYbv-g",  # the stored digest
        "eyJh.eyJz.c2ln",
        "а" + TOKEN[1:],  # Cyrillic
    ],
)
def test_what_is_not_of_our_brand_and_environment_is_not_owned(text: str) -> None:
    assert parse_token(text, "ak", "live") is Detail.CREDENTIAL_NOT_OWNED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ak_live_",
        TOKEN + " ",
        TOKEN + "\n",
        TOKEN + "\x00",
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN[:-1] + "n",
        TOKEN.replace("AAA", "AAB", 1),
        TOKEN.replace("k7Q", "k7q"),
        TOKEN.replace("A" * 43, "A" * 42 + "-"),
        TOKEN.replace("A" * 43, "A" * 42 + "\u0663"),  # a digit, but not one of ours
        TOKEN.replace("A" * 43, "A" * 42 + "\uff21"),
        "ak_live_" + "A" * 10_240,
        f"ak_live_{KEY_ID}_vCJ2Fu0ci8FgespuSLfPHvQG4Q5rlximYSTAGBYbv-g2Oob3N",
    ],
)
def test_a_wrong_form_or_checksum_is_malformed(text: str) -> None:
    assert parse_token(text, "ak", "live") is Detail.CREDENTIAL_MALFORMED


@pytest.mark.parametrize("position", range(len(TOKEN)))
def test_one_changed_character_is_never_a_token(position: int) -> None:
    for other in "0Zz_":
        if other != TOKEN[position]:
            text = TOKEN[:position] + other + TOKEN[position + 1 :]
            assert isinstance(parse_token(text, "ak", "live"), Detail)


def test_a_checksum_is_base_62_padded_with_zeros() -> None:
    value = 0
    for character in checksum(TOKEN[:-6]):
        value = value * 62 + ALPHABET.index(character)
    assert value == zlib.crc32(TOKEN[:-6].encode())
    assert checksum("") == "000000"


def test_a_digest_depends_on_every_field() -> None:
    seen = {
        digest(PEPPER, KEY_ID, 1, SECRET),
        digest(PEPPER[::-1], KEY_ID, 1, SECRET),
        digest(PEPPER, KEY_ID[::-1], 1, SECRET),
        digest(PEPPER, KEY_ID, 11, SECRET),
        digest(PEPPER, KEY_ID, 1, SECRET[1:]),
        digest(PEPPER, KEY_ID + "1", 1, SECRET[1:]),
    }
    assert len(seen) == 6


@pytest.mark.parametrize("word", ["", "a_b", "a b", "é", "x" * 17, "a\n"])
def test_a_brand_that_cannot_stand_in_a_token_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="0-9A-Za-z"):
        prefix_of(word, "live")
    with pytest.raises(ConfigError, match="environment"):
        prefix_of("ak", word)


def test_a_token_does_not_show_its_secret() -> None:
    token = Token("ak", "live", KEY_ID, "CANARY" + "A" * 37)
    for shown in (repr(token), str(token), f"{token}", f"{token!r}", str([token])):
        assert "CANARY" not in shown
        assert KEY_ID in shown

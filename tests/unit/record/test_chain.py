from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authz.model.errors import ConfigError
from authz.record.chain import EVERY, NOTHING, Chain, Checkpoint, digest, read_key, read_public_key
from authz.record.notice import Why, gap_line
from tests.support.chains import KEY, LATER, OTHER_KEY, SIDECAR, STREAM, decision, decisions


def linked(*lines: bytes, chain: Chain | None = None) -> list[bytes]:
    return (chain or Chain(KEY, SIDECAR, STREAM)).link(b"".join(lines)).splitlines()


def is_checkpoint(line: bytes) -> bool:
    return b'"kind":"checkpoint"' in line


def test_each_line_names_the_digest_of_the_one_before_it() -> None:
    lines = linked(*decisions(1, 3))
    assert [json.loads(line)["prev"] for line in lines] == [
        NOTHING,
        *(digest(line).decode() for line in lines[:-1]),
    ]


def test_a_line_is_as_it_was_but_for_its_link() -> None:
    line = decision(1, text='"}')
    (_, made) = linked(line)
    assert made.startswith(line[:-2])
    assert {name: value for name, value in json.loads(made).items() if name != "prev"} == json.loads(line)


def test_the_first_line_says_whose_chain_it_is_and_signs_it() -> None:
    first = linked(decision(7, second=5))[0]
    made = json.loads(first)
    assert list(made) == [name for name in Checkpoint.__struct_fields__ if name != "after"]
    assert (made["at"], made["seq"], made["lines"], made["time"]) == (
        "begin",
        6,
        0,
        "2026-11-23T05:00:05.000001Z",
    )
    assert KEY.public.signed(first)
    assert not OTHER_KEY.public.signed(first)


def test_a_checkpoint_stands_after_so_many_lines() -> None:
    lines = linked(*decisions(1, 2 * EVERY + 1))
    at = [index for index, line in enumerate(lines) if is_checkpoint(line)]
    assert at == [0, EVERY + 1, 2 * EVERY + 2]
    assert [json.loads(lines[index])["seq"] for index in at] == [0, EVERY, 2 * EVERY]


def test_a_checkpoint_stands_before_the_first_line_of_another_minute() -> None:
    lines = linked(decision(1, 59), decision(2, 60), decision(3, 59), decision(4, 61))
    assert [is_checkpoint(line) for line in lines] == [True, False, True, False, False, False]
    assert json.loads(lines[2])["time"].endswith("00:59.000001Z")


def test_a_clock_that_was_set_back_by_days_does_not_end_checkpoints() -> None:
    back = decision(2, 0).replace(b"2026-11-23", b"2026-11-20")
    lines = linked(decision(1, 600), back, back.replace(b"05:00", b"05:01"))
    assert [is_checkpoint(line) for line in lines] == [True, False, True, False, True, False]


def test_a_gap_counts_as_the_numbers_that_it_speaks_of() -> None:
    chain = Chain(KEY, SIDECAR, STREAM)
    linked(gap_line(SIDECAR, STREAM, 1, 20, 20, Why.QUEUE_FULL, 0), chain=chain)
    end = json.loads(chain.end())
    assert (end["seq"], end["lines"], end["at"]) == (20, 1, "end")
    assert json.loads(linked(gap_line(SIDECAR, STREAM, 5, 20, 16, Why.DAMAGED, 0))[0])["seq"] == 4


def test_a_chain_goes_on_from_its_state() -> None:
    one, other = Chain(KEY, SIDECAR, STREAM), Chain(KEY, SIDECAR, STREAM)
    whole = one.link(b"".join(decisions(1, 9)))
    part = other.link(b"".join(decisions(1, 4)))
    again = Chain(KEY, SIDECAR, STREAM, other.state)
    assert part + again.link(b"".join(decisions(5, 9))) == whole
    assert (again.state, again.end()) == (one.state, one.end())


def test_the_next_stream_names_the_end_of_the_one_before() -> None:
    first = Chain(KEY, SIDECAR, STREAM)
    first.link(decision(1))
    end = first.end()
    begin = json.loads(
        linked(decision(1, stream=LATER), chain=Chain(KEY, SIDECAR, LATER, after=first.tip))[0]
    )
    assert (begin["after"], begin["prev"]) == (STREAM, digest(end[:-1]).decode())


def test_a_chain_that_never_began_has_no_end() -> None:
    chain = Chain(KEY, SIDECAR, STREAM)
    assert (chain.link(b""), chain.end(), chain.state, chain.tip) == (b"", b"", "", "")


@pytest.mark.parametrize("at", [20, -50, -3, -1])
def test_a_checkpoint_is_genuine_to_the_last_byte(at: int) -> None:
    line = linked(decision(1))[0]
    changed = bytearray(line)
    changed[at] ^= 1
    assert KEY.public.signed(line)
    assert not KEY.public.signed(bytes(changed))
    assert not KEY.public.signed(line + b" ")
    assert not KEY.public.signed(b"{}")


def test_of_texts_that_decode_to_the_same_signature_one_alone_is_genuine() -> None:
    line = linked(decision(1))[0]
    signature = json.loads(line)["signature"]
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = last[last.index(signature[-1]) ^ 1]  # these bits are padding
    assert not KEY.public.signed(line.replace(signature.encode(), (signature[:-1] + other).encode()))


# --- keys


def pem(key: object, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())  # type: ignore[attr-defined, no-any-return]  # any of two kinds


def test_keys_are_made_as_the_page_says(tmp_path: Path) -> None:
    private, public = tmp_path / "chain.pem", tmp_path / "chain.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    assert read_key(private).public.id == read_public_key(public).id


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        b"\x00" * 40000,
        pem(generate_private_key(65537, 2048)),
        pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        Ed25519PrivateKey.generate()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "zeros", "rsa", "passphrase", "public"],
)
def test_what_cannot_sign_is_refused_in_one_line_that_shows_nothing_of_it(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="openssl genpkey -algorithm ed25519") as raised:
        read_key(path)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("name", ["missing.pem", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="name a file that this user may read"):
        read_key(tmp_path / name)
    with pytest.raises(ConfigError, match="name a file that this user may read"):
        read_public_key(tmp_path / name)


def test_a_private_key_is_not_taken_where_the_public_one_belongs(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(Ed25519PrivateKey.generate()))
    with pytest.raises(ConfigError, match="is a private key; give the public one"):
        read_public_key(path)
    path.write_bytes(
        generate_private_key(65537, 2048)
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ConfigError, match="holds no public Ed25519 key"):
        read_public_key(path)
    path.write_bytes(b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n")
    with pytest.raises(ConfigError, match="holds no public Ed25519 key"):
        read_public_key(path)


def test_a_key_does_not_show_itself() -> None:
    assert "0x" in repr(KEY)
    assert not hasattr(KEY, "__dict__")

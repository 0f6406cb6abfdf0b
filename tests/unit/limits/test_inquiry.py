from __future__ import annotations

import pytest

from authz.limits.inquiry import Inquiry, encode, inquiry_of
from authz.model.limit import document_of, in_shadow


def test_an_inquiry_comes_back_as_it_was_sent() -> None:
    asked = Inquiry([["per-key", "example", None]], "per-key", 7, forgive=True)
    assert inquiry_of(encode(asked)) == asked


def test_nothing_asked_is_everything() -> None:
    assert inquiry_of(b"") == inquiry_of(b"{}") == Inquiry()


@pytest.mark.parametrize(
    "text", [b"[]", b"{", b'{"bucket": []}', b'{"buckets": [["a", 1]]}', b'{"count": "1"}', b"\xff"]
)
def test_what_is_no_inquiry_is_said_in_a_line(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        inquiry_of(text)
    assert "\n" not in str(raised.value)


def test_a_bucket_in_shadow_is_known_by_its_name() -> None:
    assert in_shadow(("shadow/per-key", "ns", "k"))
    assert not in_shadow(("per-key", "ns", "k"))
    assert document_of("shadow/per-key") == document_of("per-key") == "per-key"

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from authz.model.text import header_text
from tests.support.checks import sanitised

# Bytes at which valid and broken UTF-8 part.
_EDGES = b"A!\x80\xbf\xc0\xc2\xe0\xa0\xe2\x82\xac\xed\xef\xbd\xf0\x90\x9f\xf4\x8f\xff"


@given(st.lists(st.sampled_from(_EDGES)).map(bytes))
def test_a_bad_byte_is_a_bang_wherever_it_stands(value: bytes) -> None:
    assert header_text(value) == sanitised(value)

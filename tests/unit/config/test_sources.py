from __future__ import annotations

import pytest
from pydantic import BaseModel

from authz.config.sources import keys_of


class One(BaseModel):
    same: int = 0


class Two(BaseModel):
    same: int = 0


class Clash(BaseModel):
    one: One = One()
    two: Two = Two()
    plain: int = 0


def test_a_name_that_two_rooms_use_is_our_bug() -> None:
    with pytest.raises(ValueError, match="two rooms have a setting `same`"):
        keys_of(Clash)

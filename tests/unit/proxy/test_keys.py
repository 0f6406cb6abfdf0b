from __future__ import annotations

from authz.proxy.keys import damaged


def test_a_damaged_token_differs_in_its_last_character_alone() -> None:
    for token in ("ak_live_abc0", "ak_live_abcZ"):
        wrong = damaged(token)
        assert wrong != token
        assert wrong[:-1] == token[:-1]

"""Values that follow from their keys: kept, and bounded."""

from __future__ import annotations

from authz.policy.memo import ENTRIES_MAX, Memo


def test_what_is_kept_is_found() -> None:
    memo: Memo[str, int] = Memo()
    assert memo.get("a") is None
    memo.keep("a", 1)
    assert memo.get("a") == 1


def test_a_full_memo_starts_anew_and_never_grows() -> None:
    memo: Memo[int, int] = Memo()
    for number in range(ENTRIES_MAX + 1):
        memo.keep(number, number)
    assert memo.get(0) is None
    assert memo.get(ENTRIES_MAX) == ENTRIES_MAX
    assert len(memo._known) == 1

"""What may be admitted at most, worked out from records alone.

A record says when its check was answered and how long it took, so its tokens were drawn somewhere in between.
Of checks that all lie between two moments a bucket grants, whatever went on:

    in Redis      burst + rate x time, and for each time that Redis forgot, what it forgot (`Forgot`)
    in outages    of each process by itself: its share of the same, since it has one bucket of that share

Both are asked of every interval that begins with one check and ends with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Grant(NamedTuple):
    """One check that drew from one bucket."""

    begin_s: float  # its call was taken
    end_s: float  # it was answered
    process: str


class Forgot(NamedTuple):
    """A moment at which a store lost what was drawn."""

    begin_s: float
    end_s: float
    tokens: float  # that it can have lost at most


def excess(grants: Sequence[Grant], rate_per_s: float, forgot: Sequence[Forgot] = ()) -> float:
    """Return the most tokens, over every interval, that were granted above rate x time: right is a burst.

    INVARIANT: never too much by a check that is counted in an interval in which it may not have been: of
    those from the i-th to the j-th by their beginnings, none was drawn for before the i-th began, none after
    the last of them ended.
    """
    ordered = sorted(grants)
    worst, best_start, latest_s = 0.0, float("-inf"), float("-inf")
    for number, grant in enumerate(ordered):
        latest_s = max(latest_s, grant.end_s)
        before = sum(one.tokens for one in forgot if one.end_s < grant.begin_s)
        best_start = max(best_start, rate_per_s * grant.begin_s + before - number)
        by_then = sum(one.tokens for one in forgot if one.begin_s <= latest_s)
        worst = max(worst, number + 1 - rate_per_s * latest_s - by_then + best_start)
    return worst


def unseen(grants: Sequence[Grant], processes: Sequence[str], at_s: float, burst: float) -> float:
    """Return what a server that came back empty may have lost: tokens that some process had not heard of.

    Each tells it, with the first check, what it saw last, and the server keeps the larger; so what is lost is
    at most what the one who knew least did not know. Whoever was granted a token heard then what was owed.
    """
    most = 0.0
    for process in processes:
        own = [grant.begin_s for grant in grants if grant.process == process and grant.end_s <= at_s]
        since_s = max(own, default=float("-inf"))
        most = max(most, sum(since_s <= grant.end_s and grant.begin_s <= at_s for grant in grants))
    return min(most, burst)

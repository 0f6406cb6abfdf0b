from __future__ import annotations

import itertools
import json

from authz.record.entry import FixedFields
from authz.record.keeper import Keeper
from authz.record.queue import RecordQueue
from authz.record.tally import Tally
from tests.support.answers import DECISION_ID, allowed, refused


def test_what_was_answered_is_counted_numbered_and_findable() -> None:
    queue, tally = RecordQueue(None, 10), Tally()
    keeper = Keeper(queue, tally, itertools.count(1).__next__)
    keeper.keep([refused(), allowed()], FixedFields("items-1", "0123456789ab"))
    line = queue.find(DECISION_ID)
    assert line is not None
    entry = json.loads(line)
    assert (entry["seq"], entry["sidecar"], entry["outcome"]) == (2, "items-1", "allow")
    assert sum(tally.reasons.values()) == 2

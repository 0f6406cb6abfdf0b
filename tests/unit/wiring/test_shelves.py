from __future__ import annotations

from authz.limits.inquiry import Inquiry
from authz.limits.memory import MemoryLimiter
from authz.limits.redis.keys import Keys
from authz.limits.shelf import Shelf
from authz.model.limit import Spend, Spent, Store
from authz.policy.evaluate import spend_of
from authz.policy.vocabulary import Facts
from authz.snapshot.snapshot import not_ready
from authz.wiring.shelves import Shelves
from tests.support.buckets import DOCUMENTS
from tests.support.policies import load
from tests.support.requests import request


class Check:
    def __init__(self, *spends: Spend) -> None:
        self.spends = spends

    def settle(self, spent: tuple[Spent, ...]) -> None:
        pass


def test_a_process_tells_what_its_own_set_says_may_be_told() -> None:
    snapshot = load(*DOCUMENTS).snapshot
    (identity, *_) = (key.identity for key in snapshot.keyring._keys.values())
    facts = Facts(request(headers={"x-visit": "SECRET"}), identity, {})
    limiter = MemoryLimiter(lambda: 0)
    for limit in snapshot.limits.values():
        spend = spend_of(limit, facts)
        assert isinstance(spend, Spend)
        limiter.spend([Check(spend)], lambda _: None)
    shelves = Shelves([Shelf(limiter, Store.MEMORY, lambda: 2)], lambda: snapshot, "default", 1, enabled=True)
    answer = shelves.answer(Inquiry())
    assert (answer.revision, answer.worker, answer.limits_off) == (snapshot.revision, 1, False)
    told = {row.name[0]: row.name[2:] for row in answer.stores[0].rows}
    assert told["per-key"] == [identity.key_id]
    assert told["per-method"] == [identity.customer, "GET"]
    assert told["per-network"] == [facts.request.client.network]
    assert told["per-visit"] == [None]
    assert told["all"] == [None]
    digests = {row.name[0]: row.digest for row in answer.stores[0].rows}
    bucket = ("per-visit", identity.namespace, "SECRET")
    assert digests["per-visit"] == Keys("default").digest(bucket)
    assert "SECRET" not in str(answer)


def test_a_process_without_limits_says_so() -> None:
    answer = Shelves([], lambda: not_ready("nothing"), "default", -1, enabled=False).answer(Inquiry())
    assert (answer.limits_off, answer.stores, answer.revision) == (True, [], "")

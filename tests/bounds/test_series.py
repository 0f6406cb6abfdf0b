"""What a client sends never becomes a series: whoever stores metrics would hold what strangers choose."""

from __future__ import annotations

from authz.record.facts import Facts
from authz.record.keeper import Keeper
from authz.record.metrics import Metrics
from authz.record.numbers import Numbers
from authz.record.queue import RecordQueue
from authz.record.tally import Tally
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT, Bench


def test_hostile_methods_hosts_and_paths_add_no_series_and_no_label() -> None:
    tally = Tally()
    keeper = Keeper(RecordQueue(None, 10, 0), tally, Numbers())
    bench = Bench(lambda: SNAPSHOT, keeper=keeper)
    page = Metrics([tally], Facts())

    def ask(first: int, last: int) -> list[str]:
        for at in range(first, last):
            bench.serve(
                check_request(method=f"CANARY{at}", host=f"canary-{at}.example.com", path=f"/canary/{at}"),
                check_request(host="a.example.com", path=f"/open?canary={at}"),
                check_request(host=f"canary {at}", path="/open"),
                check_request(host="a.example.com", path=f"/%zz{at}"),
            )
        return [line.rpartition(" ")[0] for line in page.render().decode().splitlines()]

    few = [line for line in ask(0, 3) if line.startswith("authz_")]
    many = [line for line in ask(3, 1000) if line.startswith("authz_")]
    assert few == many
    assert not any("canary" in line.lower() for line in many)

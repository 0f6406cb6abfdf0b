"""Both forms of `/metrics`, as the real Prometheus takes them, and the traces that it finds by exemplars."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from authz.model.address import TcpAddress
from authz.proxy.process import free_port
from authz.record.facts import Facts
from authz.record.metrics import CONTENT_TYPE, OPENMETRICS, Metrics
from authz.record.tally import Tally
from authz.transport.ops import OpsServer
from authz.transport.routes import Form, metrics
from tests.support.checks import check_request
from tests.support.grpc import client, read
from tests.support.hostile import HOST
from tests.support.prometheus import Prometheus, prometheus
from tests.support.proxy import eventually
from tests.support.serving import running
from tests.support.sets import small_set
from tests.support.tracing import traced

TRACES = {workers: f"{workers}{'a' * 31}" for workers in (1, 2)}
_SERIES = 'count by (job) ({__name__=~"authz_.+",job=~"plain|open"})'


class Watched(NamedTuple):
    """A Prometheus, and since when it watches."""

    server: Prometheus
    since_s: float


def page(*, only_plain: bool) -> OpsServer:
    """Serve the numbers of a process that has traced checks."""
    tally = Tally()
    for at, trace_id in enumerate(("d" * 32, "e" * 32, "f" * 32)):
        tally.add(traced(20 * 10**at, trace_id, int(time.time() * 1e6)))
    shown = Metrics([tally], Facts())
    plain = Form(CONTENT_TYPE, shown.render)
    rich = plain if only_plain else Form(OPENMETRICS, lambda: shown.render(openmetrics=True))
    return OpsServer("127.0.0.1:0", {}, pages={"/metrics": metrics(plain, rich)})


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    since_s = time.time() - 5
    with ExitStack() as stack:
        jobs: dict[str, int] = {}
        for name in ("plain", "open"):
            server = page(only_plain=name == "plain")
            server.start()
            stack.callback(server.close)
            assert isinstance(server.address, TcpAddress)
            jobs[name] = server.address.port
        for workers, trace_id in TRACES.items():
            home = tmp_path_factory.mktemp(f"workers-{workers}")
            jobs[f"workers-{workers}"] = _asked(home, workers, trace_id, stack)
        made = stack.enter_context(prometheus(tmp_path_factory.mktemp("prometheus"), _config(jobs)))
        yield Watched(made, since_s)


def _asked(home: Path, workers: int, trace_id: str, stack: ExitStack) -> int:
    """Start a sidecar that was asked once in a trace; return where its metrics are."""
    small_set(home / "policies")
    nowhere = f"otlp://127.0.0.1:{free_port()}"
    env = {"AUTHZ_TRACE_SINK": nowhere, "AUTHZ_RECORD_DRAIN_S": "0", "AUTHZ_WORKERS": str(workers)}
    sidecar = stack.enter_context(running(home, **env))
    assert eventually(lambda: sidecar.ready()[0] == 200)
    socket = home / ("a.sock" if workers == 1 else "a-1.sock")
    headers = [("traceparent", f"00-{trace_id}-{'b' * 16}-01")]
    with client(f"unix:{socket}") as ask:
        read(ask(check_request(host=HOST, path="/open", headers=headers), timeout=20))
    return sidecar.ops


def _config(jobs: Mapping[str, int]) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
            for name, port in jobs.items()
        ],
    }


def _seen(watched: Watched, job: str) -> set[str]:
    found = watched.server.exemplars(
        f'authz_check_duration_seconds_bucket{{job="{job}"}}', watched.since_s, time.time() + 60
    )
    return {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}


def test_prometheus_takes_both_forms_and_finds_the_same_in_them(watched: Watched) -> None:
    server = watched.server
    assert eventually(lambda: server.number('count(up{job=~"plain|open"} == 1)') == 2)
    assert eventually(lambda: len(server.query(_SERIES)) == 2)
    counts = {one["metric"]["job"]: one["value"][1] for one in server.query(_SERIES)}
    assert counts["plain"] == counts["open"]
    assert int(counts["open"]) > 30


def test_it_finds_the_trace_of_a_check_by_its_duration(watched: Watched) -> None:
    assert eventually(lambda: _seen(watched, "open") == {"d" * 32, "e" * 32, "f" * 32})
    assert _seen(watched, "plain") == set()


@pytest.mark.parametrize("workers", [1, 2])
def test_it_finds_what_a_sidecar_traced_with_workers_or_without(watched: Watched, workers: int) -> None:
    assert eventually(lambda: _seen(watched, f"workers-{workers}") == {TRACES[workers]})

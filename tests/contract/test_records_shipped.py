"""A sidecar and the process that ships its records: nothing is missing unseen, whoever is killed.

What was answered is told apart by `x-request-id`, which each call has of its own.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from authz.proxy.process import Child, Plan, free_port, http_get, program
from authz.record.segment import is_stream
from tests.support.checks import check_request
from tests.support.collector import ACCEPT, answering, collector
from tests.support.grpc import client, read
from tests.support.policies import PEPPER, PROVIDER
from tests.support.sets import KEY, POLICY, small_set, write
from tests.support.workers import status

PATIENCE_S = 60.0  # for a machine that does other things, too
_ROOMY = POLICY.replace("rate: 1/h", "rate: 1000000/s")


class Scene:
    """One sidecar at one address, which may be started again."""

    def __init__(self, home: Path, sinks: str, **environ: str) -> None:
        self.home, self.file = home, home / "records.jsonl"
        self.spool = home / "spool"
        small_set(home / "policies")
        write(home / "policies", PROVIDER, _ROOMY, KEY.document)
        self._environ = {
            "API_KEY_SALT": PEPPER.decode(),
            "AUTHZ_RECORD_SINK": sinks,
            "AUTHZ_RECORD_SPOOL": str(self.spool),
            "AUTHZ_RECORD_TIMEOUT_S": "2",
            "AUTHZ_RECORD_DRAIN_S": "2",
            "AUTHZ_DRAIN_S": "1",
            "AUTHZ_SIDECAR": "items",
            "AUTHZ_STATE": "off",
            **environ,
        }
        self._ops = 0

    @contextmanager
    def started(self, *flags: str) -> Iterator[Child]:
        self._ops = free_port()
        command = [program("authz"), "serve", "--policies", str(self.home / "policies"), "--debug", "off"]
        command += ["--listen", f"unix:{self.home}/a.sock", "--ops", f"127.0.0.1:{self._ops}", *flags]
        plan = Plan("the sidecar", command, self.home / "log", self.home / "out", env=self._environ)
        with Child(plan) as child:
            child.wait_until(lambda: (http_get(self._ops, "/ready") or (0,))[0] == 200, PATIENCE_S)
            yield child

    def ask(self, first: int, count: int, name: str = "a.sock") -> Counter[int]:
        with client(f"unix:{self.home}/{name}") as ask:
            return Counter(status(read(ask(call(first + at), timeout=10))) for at in range(count))

    def metric(self, series: str) -> float:
        _, page = http_get(self._ops, "/metrics") or (0, b"")
        lines = [line for line in page.decode().splitlines() if line.startswith(f"{series} ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


def call(number: int) -> bytes:
    headers = [("x-api-key", KEY.token), ("x-request-id", f"call-{number}")]
    return check_request(host="a.example.com", headers=headers)


def until(holds: Any, what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def accounted(lines: list[dict[str, Any]]) -> set[str]:
    """Hold the lines of one sink against themselves; return the requests whose records arrived."""
    by_stream: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        by_stream.setdefault(line["stream"], []).append(line)
    for stream, own in by_stream.items():
        seqs = list(dict.fromkeys(line["seq"] for line in own if "seq" in line))
        assert seqs == sorted(seqs), f"{stream} is out of order"
        gaps = {(gap["first_seq"], gap["last_seq"]): gap for gap in own if gap.get("kind") == "gap"}
        known = len(seqs) + sum(gap["count"] for gap in gaps.values())
        last = max([*seqs, *(last for _, last in gaps)])
        assert known == last, f"{stream}: {known} of {last} are accounted for"
    return {line["request_id"] for line in lines if "request_id" in line}


def wanted(*counts: int) -> set[str]:
    return {f"call-{number}" for number in range(sum(counts))}


def test_every_sink_has_every_record_and_the_spool_is_empty_afterwards(tmp_path: Path) -> None:
    with collector() as there:
        scene = Scene(tmp_path, f"file:{tmp_path}/records.jsonl,{there.url}")
        with scene.started("--workers", "2") as sidecar:
            assert scene.ask(0, 300, "a-0.sock") + scene.ask(300, 300, "a-1.sock") == Counter({200: 600})
            sidecar.send(signal.SIGTERM)
            assert sidecar.wait(PATIENCE_S) == 0
        theirs = [json.loads(line) for line in there.lines()]
    assert accounted(scene.lines()) == accounted(theirs) == wanted(600)
    assert {line["sidecar"] for line in theirs} == {"items-0", "items-1"}
    assert not any(is_stream(entry.name) for entry in scene.spool.iterdir())


def test_a_sink_that_is_away_holds_up_nobody_and_gets_everything_later(tmp_path: Path) -> None:
    with collector() as there:
        there.play(answering(503))
        scene = Scene(tmp_path, f"file:{tmp_path}/records.jsonl,{there.url}")
        with scene.started():
            scene.ask(0, 200)
            until(lambda: scene.file.exists() and len(scene.lines()) == 200, "the file has them")
            until(lambda: scene.metric('authz_record_sink_up{sink="http"}') == 0, "it is seen to be down")
            assert there.lines() == []
            there.play(ACCEPT)
            until(lambda: len(there.lines()) >= 200, "the collector has them")
            until(lambda: scene.metric('authz_record_sink_up{sink="http"}') == 1, "it is seen to be up")
        theirs = [json.loads(line) for line in there.lines()]
    assert accounted(theirs) == wanted(200)


def test_of_a_sidecar_that_is_killed_every_answer_is_on_record_or_declared_missing(tmp_path: Path) -> None:
    scene = Scene(tmp_path, f"file:{tmp_path}/records.jsonl", AUTHZ_RECORD_FILE_MAX_BYTES=str(1 << 30))
    answered: set[str] = set()

    def load(stop: threading.Event, first: int) -> None:
        with client(f"unix:{tmp_path}/a.sock") as ask:
            number = first
            while not stop.is_set():
                try:
                    ask(call(number), timeout=5)
                except grpc.RpcError:
                    return
                answered.add(f"call-{number}")
                number += 1

    for life in range(2):
        with scene.started() as sidecar:
            stop = threading.Event()
            threads = [
                threading.Thread(target=load, args=(stop, (10 * life + at) * 1_000_000)) for at in range(3)
            ]
            for thread in threads:
                thread.start()
            enough = len(answered) + 500
            until(lambda enough=enough: len(answered) > enough, "calls are answered")
            sidecar.send(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
    with scene.started() as sidecar:
        sidecar.send(signal.SIGTERM)
        assert sidecar.wait(PATIENCE_S) == 0
    arrived = accounted(scene.lines())
    lost = sum(line["count"] for line in scene.lines() if line.get("kind") == "gap")
    assert len(answered - arrived) <= lost
    assert len(arrived & answered) > 900


def test_who_may_lose_no_record_refuses_while_none_can_be_kept(tmp_path: Path) -> None:
    with collector() as there:
        there.play(answering(503))
        small = {"AUTHZ_RECORD_SPOOL_BYTES": "262144", "AUTHZ_RECORD_QUEUE": "200"}
        scene = Scene(tmp_path, there.url, AUTHZ_RECORD_ON_FULL="deny", **small)
        with scene.started():
            seen, asked = Counter[int](), 0
            while not seen[503] and asked < 5000:
                seen += scene.ask(asked, 50)
                asked += 50
            assert seen[503], "it never refused"
            assert scene.metric('authz_checks_total{outcome="deny",reason="overloaded"}') == seen[503]
            there.play(ACCEPT)
            until(lambda: scene.ask(asked, 1)[200], "it allows again")
            until(lambda: scene.metric('authz_record_lag_bytes{sink="http"}') == 0, "everything is delivered")
        lines = [json.loads(line) for line in there.lines()]
    accounted(lines)
    # Of the refusals themselves only so many are recorded as there is room for; the others are counted.
    assert not [line for line in lines if line.get("kind") == "gap" and line["allows"]]
    allowed = {line["request_id"] for line in lines if line.get("outcome") == "allow"}
    assert len(allowed) >= seen[200]


@pytest.mark.parametrize("sinks", ["kafka://127.0.0.1:1/t,stdout", "stdout"])
def test_standard_output_is_shipped_as_well(tmp_path: Path, sinks: str) -> None:
    scene = Scene(tmp_path, sinks)
    with scene.started():
        scene.ask(0, 20)
        until(lambda: (tmp_path / "out").read_bytes().count(b"\n") == 20, "they are there")

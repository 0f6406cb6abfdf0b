"""What it costs to hand records to each sink: `.venv/bin/python -m tests.bench.bench_sinks [RECORDS]`.

Records of about 930 bytes go to a receiver in this process, or to a real Redis and a real Kafka beside it.
Printed are records per second and microseconds of CPU per record: of the thread that delivers and, beside it,
of the whole process, threads of libraries and a receiver included.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from authz.model.sink import parse_sink
from authz.shipping.delivery import Batch, Sink
from authz.shipping.errand import Access
from authz.shipping.file import FileSink
from authz.shipping.http import HttpSink
from authz.shipping.kafka import KafkaSink
from authz.shipping.otlp_logs import OtlpLogSink
from authz.shipping.redis_stream import RedisStreamSink
from authz.shipping.stdout import StdoutSink
from tests.support.batches import STREAM, TIME_US
from tests.support.collector import collector
from tests.support.kafka import kafka, kafka_is_missing
from tests.support.otlp_receiver import otlp_receiver
from tests.support.redis import redis_server

RECORDS = 20_000
_ACCESS = Access(timeout_s=60)
_LINE = (
    '{"v":1,"time":"2026-11-18T11:06:40.%06dZ","decision_id":"019aaaaa-bbbb-7ccc-8ddd-%012x",'
    '"request_id":"3f0e9d3a-8a5e-4f0e-9f57-%012x","trace_id":"%032x","sidecar":"items-7d4b9c-x2x4z",'
    f'"stream":"{STREAM}",'
    '"seq":%d,"revision":"0123456789ab","source_revision":"4f2a9c1d4f2a9c1d4f2a9c1d4f2a9c1d4f2a9c1d",'
    '"outcome":"allow","status":200,"reason":"allowed","policy":"items","rule":"read",'
    '"allowed_by":["items/read"],"identity":{"kind":"api_key","provider":"partner-keys",'
    '"subject":"k7Qm2VxP0aZs","key_id":"k7Qm2VxP0aZs","customer":"acme","scopes":["items:read"],'
    '"labels":{"tier":"gold"}},"request":{"method":"GET","host":"items.example.com",'
    '"path":"/api/v1/items/%d","protocol":"HTTP/2","client_address":"203.0.113.7","size":0},'
    '"limits":[{"name":"per-key","remaining":199,"store":"memory","retry_ms":0},'
    '{"name":"per-customer","remaining":1999,"store":"memory","retry_ms":0}],"duration_us":%d}\n'
)


class Spent(NamedTuple):
    """What so many records took."""

    records: int
    wall_s: float
    thread_s: float
    process_s: float


def batches(count: int, most_bytes: int) -> list[Batch]:
    """Return so many records, no two alike, in batches as a sink wants them."""
    rng = random.Random(1)
    found: list[Batch] = []
    lines: list[bytes] = []
    for seq in range(1, count + 1):
        ids = rng.randrange(10**6), rng.getrandbits(48), rng.getrandbits(48), rng.getrandbits(128)
        lines.append((_LINE % (*ids, seq, rng.randrange(10**6), rng.randrange(500))).encode())
        if sum(map(len, lines[:1])) * (len(lines) + 1) > most_bytes or seq == count:
            first_seq = seq - len(lines) + 1
            found.append(Batch(STREAM, b"".join(lines), len(lines), first_seq, seq, TIME_US))
            lines = []
    return found


def measured(sink: Sink, count: int) -> Spent:
    """Deliver so many records; the first batch, which connects, is not counted."""
    first, *rest = batches(count, sink.batch_bytes)
    sink.deliver(first)
    before = time.perf_counter(), time.thread_time(), time.process_time()
    for batch in rest:
        sink.deliver(batch)
    after = time.perf_counter(), time.thread_time(), time.process_time()
    sink.close()
    return Spent(sum(batch.records for batch in rest), *(b - a for a, b in zip(before, after, strict=True)))


def report(what: str, spent: Spent) -> None:
    """Print one line."""
    thread_us, process_us = (1e6 * one / spent.records for one in (spent.thread_s, spent.process_s))
    rate = spent.records / spent.wall_s
    sys.stdout.write(f"{what:24}{rate:12,.0f} records/s{thread_us:8.2f} us  (process {process_us:.2f} us)\n")


def _drain(fd: int) -> None:
    while os.read(fd, 1 << 16):
        pass


def main(count: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "a.json"
        report("file", measured(FileSink(parse_sink(f"file:{path}"), "file", 0, 5), 5 * count))
        path.unlink()
        rotated = FileSink(parse_sink(f"file:{path}"), "file", 10_000_000, 5)
        report("file, put aside at 10 MB", measured(rotated, 5 * count))
    ends = os.pipe()
    Thread(target=_drain, args=(ends[0],), daemon=True).start()
    report("stdout, a pipe", measured(StdoutSink("stdout", ends[1]), count))
    with collector() as it:
        report("http", measured(HttpSink(parse_sink(it.url), _ACCESS, "http"), count))
    with otlp_receiver() as receiver:
        receiver.keeps = False
        for url in (receiver.grpc_url, receiver.http_url):
            sink = OtlpLogSink(parse_sink(url), _ACCESS, "otlp")
            report(url.partition("://")[0], measured(sink, count))
    with redis_server() as server:
        stream = parse_sink(f"{server.url}/records")
        report("redis", measured(RedisStreamSink(stream, _ACCESS, "redis"), 5 * count))
    if missing := kafka_is_missing():
        sys.stdout.write(f"kafka is left out: {missing}\n")
        return
    with kafka() as broker:
        topic = parse_sink(f"kafka://{broker.bootstrap}/{broker.create_topic()}")
        report("kafka", measured(KafkaSink(topic, _ACCESS, "kafka"), 5 * count))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS)

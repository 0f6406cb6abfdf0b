"""Opens the sinks of an errand. What only one kind of sink needs is loaded only where there is one."""

from __future__ import annotations

from collections import Counter

from authz.model.errors import ConfigError
from authz.model.sink import SinkAddress, SinkKind
from authz.shipping.delivery import Sink
from authz.shipping.errand import Errand

TRACES = "traces"


def open_sinks(errand: Errand) -> list[Sink]:
    """Return the sinks of an errand in its order, traces last. None of them connects yet.

    Raises:
        ConfigError: one needs what is not installed.
    """
    seen: Counter[str] = Counter()
    sinks = []
    for address in errand.sinks:
        seen[address.kind.value] += 1
        number = seen[address.kind.value]
        name = address.kind.value if number == 1 else f"{address.kind.value}-{number}"
        sinks.append(_open(address, name, errand))
    if errand.traces is not None:
        sinks.append(_open_traces(errand.traces, errand))
    return sinks


def _open(address: SinkAddress, name: str, errand: Errand) -> Sink:
    match address.kind:
        case SinkKind.STDOUT:
            from authz.shipping.stdout import StdoutSink

            return StdoutSink(name)
        case SinkKind.FILE:
            from authz.shipping.file import FileSink

            return FileSink(address, name, errand.file_max_bytes, errand.file_keep)
        case SinkKind.HTTP:
            from authz.shipping.http import HttpSink

            return HttpSink(address, errand.access, name)
        case SinkKind.OTLP:
            from authz.shipping.otlp_logs import OtlpLogSink

            return OtlpLogSink(address, errand.access, name)
        case SinkKind.REDIS:
            from authz.shipping.redis_stream import RedisStreamSink

            return RedisStreamSink(address, errand.access, name)
        case SinkKind.KAFKA:
            return _open_kafka(address, name, errand)


def _open_kafka(address: SinkAddress, name: str, errand: Errand) -> Sink:
    try:
        from authz.shipping.kafka import KafkaSink
    except ImportError:  # not there, or a part of it that the system lacks
        raise ConfigError(
            f"record_sink: `{address}` needs the extra `kafka`; install it with `pip install authz[kafka]`"
        ) from None
    return KafkaSink(address, errand.access, name)


def _open_traces(address: SinkAddress, errand: Errand) -> Sink:
    from authz.shipping.otlp_traces import OtlpTraceSink

    return OtlpTraceSink(address, errand.access, TRACES, errand.trace_service)

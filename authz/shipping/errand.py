"""What a shipper is told when it starts: everything it needs to know of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from authz.model.sink import SinkAddress


@dataclass(frozen=True, slots=True)
class Access:
    """How sinks are reached. SECURITY: neither repr nor str shows a secret.

    Args:
        timeout_s: how long one answer is waited for.
        http_token: bearer token of HTTP and OTLP sinks.
    """

    timeout_s: float = 10.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    http_token: str = field(default="", repr=False)
    redis_user: str = ""
    redis_password: str = field(default="", repr=False)
    redis_max_len: int = 1_000_000
    kafka_user: str = ""
    kafka_password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Errand:
    """What is shipped, and where.

    Args:
        spool: the directory in which judging processes write streams.
        spool_bytes: of all streams together.
        on_full: `drop_allows`, `drop` or `deny`; see the setting.
        sinks: where records go.
        traces: where spans go; None: nowhere.
        chain_key: PEM of a private Ed25519 key; None: records are not chained.
        file_max_bytes: 0: a file is never put aside.
        drain_s: how long to go on once there is nobody left who writes.
    """

    spool: Path
    spool_bytes: int
    on_full: str
    sinks: tuple[SinkAddress, ...]
    access: Access = Access()
    traces: SinkAddress | None = None
    trace_service: str = "authz"
    chain_key: Path | None = None
    file_max_bytes: int = 0
    file_keep: int = 5
    drain_s: float = 5.0
    log_level: str = "info"

"""An Envoy that traces: what `docs/tracing.md` tells operators to add to their bootstrap, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

_PAGE = Path(__file__).parents[2] / "docs" / "tracing.md"
_TOLD = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Not for operators: each span leaves at once.
_AT_ONCE = {"name": "tests", "static_layer": {"tracing.opentelemetry.min_flush_spans": 1}}


def tracing_envoy(port: int, percent: float) -> Callable[[str], str]:
    """Return an edit of a bootstrap that has Envoy trace.

    Args:
        port: of the collector, for OTLP over gRPC.
        percent: of requests whose client says nothing of a trace, or asks for one.
    """
    here = _PAGE.read_text(encoding="utf-8").replace("collector.example.com, port_value: 4317", _at(port))
    tracing, clusters = map(yaml.safe_load, _TOLD.findall(here))
    tracing["tracing"]["random_sampling"]["value"] = percent

    def edit(config: str) -> str:
        bootstrap: dict[str, Any] = yaml.safe_load(config)
        static = bootstrap["static_resources"]
        static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"] |= tracing
        static["clusters"] += clusters
        bootstrap["layered_runtime"] = {"layers": [_AT_ONCE]}
        return yaml.safe_dump(bootstrap)

    return edit


def _at(port: int) -> str:
    return f"127.0.0.1, port_value: {port}"

"""An Envoy that traces: what an operator adds to the bootstrap that `authz envoy config` writes.

The same lines stand in `docs/tracing.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

_TRACER = """
provider:
  name: envoy.tracers.opentelemetry
  typed_config:
    "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
    service_name: edge
    grpc_service: {timeout: 1s, envoy_grpc: {cluster_name: collector}}
random_sampling: {value: PERCENT}
"""
_CLUSTER = """
name: collector
type: STRICT_DNS
connect_timeout: 1s
typed_extension_protocol_options:
  envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
    "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
    explicit_http_config: {http2_protocol_options: {}}
load_assignment:
  cluster_name: collector
  endpoints:
    - lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]
"""
# Not for operators: each span leaves at once.
_RUNTIME = """
layers: [{name: tests, static_layer: {tracing.opentelemetry.min_flush_spans: 1}}]
"""


def tracing_envoy(port: int, percent: float) -> Callable[[str], str]:
    """Return an edit of a bootstrap that has Envoy trace.

    Args:
        port: of the collector, for OTLP over gRPC.
        percent: of requests whose client says nothing of a trace, or asks for one.
    """

    def edit(config: str) -> str:
        bootstrap: dict[str, Any] = yaml.safe_load(config)
        static = bootstrap["static_resources"]
        manager = static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        manager["tracing"] = yaml.safe_load(_TRACER.replace("PERCENT", str(percent)))
        static["clusters"].append(yaml.safe_load(_CLUSTER.replace("PORT", str(port))))
        bootstrap["layered_runtime"] = yaml.safe_load(_RUNTIME)
        return yaml.safe_dump(bootstrap)

    return edit

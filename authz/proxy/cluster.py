"""Envoy's clusters: the sidecar's sockets, and the application."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from authz.model.address import Address, UnixAddress
from authz.proxy import messages as m
from authz.proxy.choices import EnvoyChoices, is_name
from authz.proxy.tls import transport_socket

AUTHZ = "authz"
UPSTREAM = "upstream"

_CEILING = 100_000
"""Open requests and connections to the application: bounding those is its operator's choice, not ours."""

CHECKS_OPEN = 1024
"""Checks that may be open for each socket of the sidecar. One judges so many in 40 ms, so all are answered
well before the timeout; whatever more is asked Envoy refuses with 503 at once. Without it, a flood waits
where the sidecar does not see it yet: at twice the load that two cores can judge, 20 % of the peak was
answered in time, with it all of it (`python -m tests.bench.bench_overload`)."""

_PROTOCOLS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def address(where: Address) -> m.Address:
    """Return an Envoy address for a socket, an IP address or a name."""
    if isinstance(where, UnixAddress):
        return m.Address(pipe=m.Pipe(path=str(where.path)))
    return m.Address(socket_address=m.SocketAddress(address=where.host, port_value=where.port))


def authz_cluster(choices: EnvoyChoices) -> m.Cluster:
    """Return the cluster of the sidecar: gRPC over its sockets, one endpoint per worker."""
    cluster = _cluster(AUTHZ, choices.authz, CHECKS_OPEN * len(choices.authz), http2=True)
    # A socket on this machine accepts at once or not at all; waiting longer only uses up the check's time.
    cluster.connect_timeout = timedelta(milliseconds=min(choices.timeout_ms, 250))
    # Each worker owns a socket and they cost the same, so plain turns share the load evenly.
    cluster.lb_policy = m.ClusterLbPolicy.ROUND_ROBIN
    cluster.outlier_detection = _outliers()
    # Envoy gathers what happens to hosts for a second by default: of two workers that leave together it
    # would go on asking the second one for as long.
    cluster.common_lb_config = m.ClusterCommonLbConfig(update_merge_window=timedelta(0))
    if choices.authz_tls is not None:
        cluster.transport_socket = transport_socket(choices.authz_tls, choices.authz)
    return cluster


def upstream_cluster(choices: EnvoyChoices) -> m.Cluster:
    """Return the cluster of the application."""
    cluster = _cluster(UPSTREAM, (choices.upstream,), _CEILING, http2=choices.upstream_http2)
    cluster.connect_timeout = timedelta(seconds=1)
    return cluster


def _outliers() -> m.OutlierDetection:
    """Take a dead worker out of the turns at the first refused connection.

    Without this, every second check fails while one of two workers is down.
    """
    return m.OutlierDetection(
        # Tells "could not connect" apart from "answered badly", so that one local error is enough to act on.
        split_external_local_origin_errors=True,
        consecutive_local_origin_failure=1,
        enforcing_consecutive_local_origin_failure=100,
        # Half of the workers stay in turn whatever happens: a wrong verdict must not stop everything.
        max_ejection_percent=50,
        # The supervisor restarts a worker within a second: look every second and give it back its turn after
        # five. Each try of a socket that is still dead costs one check a retry.
        interval=timedelta(seconds=1),
        base_ejection_time=timedelta(seconds=5),
        max_ejection_time=timedelta(seconds=30),
        # An answer of the sidecar is never a reason to eject it: its refusals are answers.
        enforcing_consecutive_5xx=0,
        enforcing_consecutive_gateway_failure=0,
        enforcing_success_rate=0,
        enforcing_local_origin_success_rate=0,
    )


def _cluster(name: str, places: Sequence[Address], ceiling: int, *, http2: bool) -> m.Cluster:
    dns = any(is_name(place) for place in places)
    return m.Cluster(
        name=name,
        type=m.ClusterDiscoveryType.STRICT_DNS if dns else m.ClusterDiscoveryType.STATIC,
        load_assignment=m.ClusterLoadAssignment(
            cluster_name=name, endpoints=[m.LocalityLbEndpoints(lb_endpoints=[_endpoint(p) for p in places])]
        ),
        circuit_breakers=m.CircuitBreakers(thresholds=[_ceilings(ceiling)]),
        # gRPC is HTTP/2 and nothing else; an application gets HTTP/1.1 unless it was said to speak HTTP/2.
        typed_extension_protocol_options={_PROTOCOLS: m.Packed.pack(_protocol(http2=http2))},
    )


def _endpoint(place: Address) -> m.LbEndpoint:
    return m.LbEndpoint(endpoint=m.Endpoint(address=address(place)))


def _ceilings(ceiling: int) -> m.CircuitBreakersThresholds:
    return m.CircuitBreakersThresholds(
        max_connections=_CEILING,
        max_pending_requests=ceiling,
        max_requests=ceiling,
        # Three by default: of all that wait on a connection that breaks, the fourth would be refused.
        max_retries=ceiling,
    )


def _protocol(*, http2: bool) -> m.UpstreamProtocols:
    if http2:
        return m.UpstreamProtocols(
            explicit_http_config=m.ExplicitProtocol(http2_protocol_options=m.Http2ProtocolOptions())
        )
    return m.UpstreamProtocols(
        explicit_http_config=m.ExplicitProtocol(http_protocol_options=m.Http1ProtocolOptions())
    )

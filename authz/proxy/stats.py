"""Two pages of Envoy's admin for whoever probes and scrapes, and none of the pages that change something.

The admin can stop Envoy, drop its connections and show its configuration, and asks nobody for a password. So
it stays where only its own user reaches it, and one more listener of the same Envoy passes on two pages.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from authz.model.address import Address, TcpAddress, UnixAddress
from authz.proxy import messages as m
from authz.proxy.choices import EnvoyChoices
from authz.proxy.cluster import address

ADMIN = "admin"
PAGES = ("/ready", "/stats/prometheus")

_CONNECTION_MANAGER = "envoy.filters.network.http_connection_manager"
_OWNER_ALONE = 0o600
_TIMEOUT = timedelta(seconds=10)  # Prometheus waits as long by default; a page takes milliseconds
_OPEN_MAX = 16
"""Pages asked for at once. The admin answers on Envoy's main thread, which must not be kept from its work."""


def admin(choices: EnvoyChoices) -> m.Admin | None:
    """Return the admin listener: none unless it was asked for, or is needed for its two pages."""
    where = admin_address(choices)
    if where is None:
        return None
    if choices.admin is not None:
        return m.Admin(address=_private(where))
    # SECURITY: nobody asked for an admin, so not even its owner can stop Envoy through it.
    return m.Admin(address=_private(where), allow_paths=[m.StringMatcher(exact=page) for page in PAGES])


def admin_address(choices: EnvoyChoices) -> Address | None:
    """Return where the admin listens: where it was asked for, else beside the sidecar's first socket."""
    if choices.admin is not None or choices.stats is None:
        return choices.admin
    return _beside(choices)


def stats_listener(stats: TcpAddress) -> m.Listener:
    """Return the listener that passes on the two pages and answers 404 to everything else."""
    manager = m.Filter(name=_CONNECTION_MANAGER, typed_config=m.Packed.pack(_connection_manager()))
    return m.Listener(name="stats", address=address(stats), filter_chains=[m.FilterChain(filters=[manager])])


def admin_cluster(where: Address) -> m.Cluster:
    """Return the cluster of Envoy's own admin."""
    endpoint = m.LbEndpoint(endpoint=m.Endpoint(address=address(where)))
    return m.Cluster(
        name=ADMIN,
        type=m.ClusterDiscoveryType.STATIC,
        connect_timeout=timedelta(seconds=1),
        load_assignment=m.ClusterLoadAssignment(
            cluster_name=ADMIN, endpoints=[m.LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
        circuit_breakers=m.CircuitBreakers(
            thresholds=[m.CircuitBreakersThresholds(max_requests=_OPEN_MAX, max_pending_requests=_OPEN_MAX)]
        ),
    )


def _beside(choices: EnvoyChoices) -> Address | None:
    sockets: list[Path] = [where.path for where in choices.authz if isinstance(where, UnixAddress)]
    return UnixAddress(sockets[0].with_name("envoy-admin.sock")) if sockets else None


def _private(where: Address) -> m.Address:
    """Return an address of Envoy's admin."""
    if isinstance(where, UnixAddress):
        # SECURITY: its owner's alone, since the directory is shared with whoever asks the sidecar.
        return m.Address(pipe=m.Pipe(path=str(where.path), mode=_OWNER_ALONE))
    return address(where)


def _connection_manager() -> m.HttpConnectionManager:
    host = m.VirtualHost(name="stats", domains=["*"], routes=[_route(page) for page in PAGES])
    return m.HttpConnectionManager(
        stat_prefix="stats",
        route_config=m.RouteConfiguration(name="stats", virtual_hosts=[host]),
        http_filters=[m.HttpFilter(name="envoy.filters.http.router", typed_config=m.Packed.pack(m.Router()))],
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=m.HttpConnectionManagerPathWithEscapedSlashesAction.REJECT_REQUEST,
        # Whoever reaches this port is not steered by, and cannot steer, Envoy's own headers.
        internal_address_config=m.HttpConnectionManagerInternalAddressConfig(unix_sockets=False),
        stream_idle_timeout=_TIMEOUT,
        request_timeout=_TIMEOUT,
    )


def _route(page: str) -> m.Route:
    """Return the way to one page: GET, and the whole path, so that a query with a costly filter is 404."""
    return m.Route(
        match=m.RouteMatch(path=page, headers=[_is(":method", "GET"), _is(":path", page)]),
        route=m.RouteAction(cluster=ADMIN, timeout=_TIMEOUT),
    )


def _is(name: str, value: str) -> m.HeaderMatcher:
    return m.HeaderMatcher(name=name, string_match=m.StringMatcher(exact=value))

"""The Envoy messages that this room writes, under one roof.

The library builds its classes with a spelling that pydantic deprecates; it warns once per class while it is
imported. The warnings are silenced here, for this import alone, and nowhere else.
"""

import warnings

from betterproto2 import Casing

SNAKE_CASE = Casing.SNAKE
"""How field names are written: as in Envoy's own documents."""

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from envoy_data_plane.envoy.config.accesslog.v3 import AccessLog
    from envoy_data_plane.envoy.config.bootstrap.v3 import Admin, Bootstrap, BootstrapStaticResources
    from envoy_data_plane.envoy.config.cluster.v3 import (
        CircuitBreakers,
        CircuitBreakersThresholds,
        Cluster,
        ClusterCommonLbConfig,
        ClusterDiscoveryType,
        ClusterLbPolicy,
        OutlierDetection,
    )
    from envoy_data_plane.envoy.config.common.mutation_rules.v3 import HeaderMutationRules
    from envoy_data_plane.envoy.config.core.v3 import (
        Address,
        ApiVersion,
        BackoffStrategy,
        DataSource,
        GrpcService,
        GrpcServiceEnvoyGrpc,
        Http1ProtocolOptions,
        Http2ProtocolOptions,
        HttpProtocolOptions,
        HttpProtocolOptionsHeadersWithUnderscoresAction,
        Pipe,
        RetryPolicy,
        RetryPolicyRetryHostPredicate,
        SocketAddress,
        SubstitutionFormatString,
        TransportSocket,
    )
    from envoy_data_plane.envoy.config.endpoint.v3 import (
        ClusterLoadAssignment,
        Endpoint,
        LbEndpoint,
        LocalityLbEndpoints,
    )
    from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, Listener
    from envoy_data_plane.envoy.config.route.v3 import (
        HeaderMatcher,
        Route,
        RouteAction,
        RouteConfiguration,
        RouteMatch,
        VirtualHost,
    )
    from envoy_data_plane.envoy.extensions.access_loggers.stream.v3 import StdoutAccessLog
    from envoy_data_plane.envoy.extensions.filters.http.cors.v3 import Cors, CorsPolicy
    from envoy_data_plane.envoy.extensions.filters.http.ext_authz.v3 import BufferSettings, ExtAuthz
    from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
    from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
        HttpConnectionManager,
        HttpConnectionManagerInternalAddressConfig,
        HttpConnectionManagerPathWithEscapedSlashesAction,
        HttpConnectionManagerUpgradeConfig,
        HttpFilter,
    )
    from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
        CertificateValidationContext,
        CommonTlsContext,
        SubjectAltNameMatcher,
        TlsCertificate,
        TlsParameters,
        TlsParametersTlsProtocol,
        UpstreamTlsContext,
    )
    from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
        SubjectAltNameMatcherSanType as SanType,
    )
    from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
        HttpProtocolOptions as UpstreamProtocols,
    )
    from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
        HttpProtocolOptionsExplicitHttpConfig as ExplicitProtocol,
    )
    from envoy_data_plane.envoy.type.matcher.v3 import RegexMatcher, StringMatcher
    from envoy_data_plane.envoy.type.v3 import HttpStatus, StatusCode
    from envoy_data_plane.google.protobuf import Any as Packed
    from envoy_data_plane.google.protobuf import Struct, Value

__all__ = [
    "SNAKE_CASE",
    "AccessLog",
    "Address",
    "Admin",
    "ApiVersion",
    "BackoffStrategy",
    "Bootstrap",
    "BootstrapStaticResources",
    "BufferSettings",
    "CertificateValidationContext",
    "CircuitBreakers",
    "CircuitBreakersThresholds",
    "Cluster",
    "ClusterCommonLbConfig",
    "ClusterDiscoveryType",
    "ClusterLbPolicy",
    "ClusterLoadAssignment",
    "CommonTlsContext",
    "Cors",
    "CorsPolicy",
    "DataSource",
    "Endpoint",
    "ExplicitProtocol",
    "ExtAuthz",
    "Filter",
    "FilterChain",
    "GrpcService",
    "GrpcServiceEnvoyGrpc",
    "HeaderMatcher",
    "HeaderMutationRules",
    "Http1ProtocolOptions",
    "Http2ProtocolOptions",
    "HttpConnectionManager",
    "HttpConnectionManagerInternalAddressConfig",
    "HttpConnectionManagerPathWithEscapedSlashesAction",
    "HttpConnectionManagerUpgradeConfig",
    "HttpFilter",
    "HttpProtocolOptions",
    "HttpProtocolOptionsHeadersWithUnderscoresAction",
    "HttpStatus",
    "LbEndpoint",
    "Listener",
    "LocalityLbEndpoints",
    "OutlierDetection",
    "Packed",
    "Pipe",
    "PreviousHostsPredicate",
    "RegexMatcher",
    "RetryPolicy",
    "RetryPolicyRetryHostPredicate",
    "Route",
    "RouteAction",
    "RouteConfiguration",
    "RouteMatch",
    "Router",
    "SanType",
    "SocketAddress",
    "StatusCode",
    "StdoutAccessLog",
    "StringMatcher",
    "Struct",
    "SubjectAltNameMatcher",
    "SubstitutionFormatString",
    "TlsCertificate",
    "TlsParameters",
    "TlsParametersTlsProtocol",
    "TransportSocket",
    "UpstreamProtocols",
    "UpstreamTlsContext",
    "Value",
    "VirtualHost",
]

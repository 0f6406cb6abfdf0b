"""What each Envoy can tell the sidecar of a request: of an integration, never of a document.

Envoy's protocol has room for more than any integration fills. A document that asks for what never comes
would be served and never do what it says, so `authz policy validate --proxy` refuses it; what comes only
where the operator asks for it is a warning, until `--sends` says that it does. `docs/proxies.md` is
generated from here.

Source: the filter that each integration writes. Ours: `authz/proxy/filters.py`. Istio 1.31:
`generateGRPCConfig` in pilot/pkg/security/authz/builder/extauthz.go and `buildHTTPConnectionManager` in
pilot/pkg/networking/core/listener_builder.go. Envoy Gateway 1.9: `extAuthConfig` in
internal/xds/translator/extauth.go, and listener.go beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, TypeAlias


class Proxy(StrEnum):
    """Whose Envoy asks; the words of the chart's value `envoy`."""

    MANAGED = "managed"
    ISTIO = "istio"
    GATEWAY = "gateway"


class Input(StrEnum):
    """What a document may need to know of a request, where not every Envoy tells it; words of `--sends`."""

    MTLS = "mtls"
    BODY = "body"
    CONTEXT = "context"
    METADATA = "metadata"
    WEBSOCKET = "websocket"
    UPGRADES = "upgrades"
    ENCODED_SLASH = "encoded-slash"
    UNDERSCORES = "underscores"


class Always(NamedTuple):
    """It comes; `note` says what of the operator's could keep it away."""

    note: str = ""


class WhenSet(NamedTuple):
    """It comes where the operator says so; `how` follows «where»."""

    how: str


class Never(NamedTuple):
    """It cannot come; `mend` says what to do instead."""

    mend: str


Capability: TypeAlias = Always | WhenSet | Never

# What an input is, and who needs it: for people.
MEANING: Mapping[Input, tuple[str, str]] = MappingProxyType(
    {
        Input.MTLS: ("the workload that Envoy authenticated by mTLS", "`peers`, `peer.principal`"),
        Input.BODY: ("the body of the request", "`request.body`"),
        Input.CONTEXT: ("context extensions of the route", "`context`"),
        Input.METADATA: ("dynamic metadata of other filters", "`metadata`"),
        Input.WEBSOCKET: ("requests that ask for websocket", "`upgrade: [websocket]`"),
        Input.UPGRADES: ("requests that ask for another protocol", "`upgrade` with any other word"),
        Input.ENCODED_SLASH: ("paths with `%2F`", "`encodedSlash: keep`"),
        Input.UNDERSCORES: ("headers with `_` in their name", "such a name in `in` or in an expression"),
    }
)

# For people, in the middle of a sentence.
NAMES: Mapping[Proxy, str] = MappingProxyType(
    {
        Proxy.MANAGED: "the Envoy of `authz envoy config`",
        Proxy.ISTIO: "Istio",
        Proxy.GATEWAY: "Envoy Gateway",
    }
)

CAPABILITIES: Mapping[Proxy, Mapping[Input, Capability]] = MappingProxyType(
    {
        Proxy.MANAGED: {
            # Its listener speaks no TLS, so nobody has shown it a certificate.
            Input.MTLS: Never("ask for a credential with `identity`, or use `envoy: istio`"),
            Input.BODY: WhenSet("it has `--body-bytes` (in the chart `envoyProxy.bodyBytes`)"),
            Input.CONTEXT: Never("write it into the policy, since this Envoy has one route"),
            Input.METADATA: Never("remove it, since no filter stands before ours"),
            Input.WEBSOCKET: WhenSet("it has `--upgrade websocket` (in the chart `envoyProxy.upgrades`)"),
            Input.UPGRADES: Never("name `websocket`, or let this protocol go around the Envoy"),
            Input.ENCODED_SLASH: Never("write `refuse`, since it answers 400 to such paths"),
            Input.UNDERSCORES: Never("spell it with `-`, since it answers 400 to such headers"),
        },
        Proxy.ISTIO: {
            Input.MTLS: WhenSet(
                "callers must speak mTLS: a PeerAuthentication STRICT (in the chart"
                " `istio.peerAuthentication`)"
            ),
            Input.BODY: WhenSet(
                "the provider has `includeRequestBodyInCheck` with `packAsBytes: true` (the chart prints it"
                " for `istio.bodyBytes`)"
            ),
            Input.CONTEXT: Never("write it into the policy, since a provider has no context extensions"),
            Input.METADATA: Never("remove it, since a provider names no name spaces"),
            Input.WEBSOCKET: Always(),
            Input.UPGRADES: Never("name `websocket`, the only one that a mesh lets through"),
            Input.ENCODED_SLASH: Always("not where `pathNormalization` is `DECODE_AND_MERGE_SLASHES`"),
            Input.UNDERSCORES: Always("not where `connectionSettings` or a gateway before it reject them"),
        },
        Proxy.GATEWAY: {
            Input.MTLS: WhenSet(
                "a ClientTrafficPolicy has `tls.clientValidation` (in the chart"
                " `gateway.clientTraffic.clientCA`)"
            ),
            Input.BODY: WhenSet(
                "`extAuth.bodyToExtAuth` is there (in the chart `gateway.bodyBytes`); bytes that are not"
                " UTF-8 arrive as `!`"
            ),
            Input.CONTEXT: WhenSet(
                "`extAuth.contextExtensions` has it (in the chart `gateway.contextExtensions`) and"
                " AUTHZ_CONTEXT names it"
            ),
            # `includeRouteMetadata` fills route_metadata_context, another field.
            Input.METADATA: Never("use `context`, since the filter names no name spaces"),
            Input.WEBSOCKET: Always("not where a BackendTrafficPolicy has another `httpUpgrade`"),
            Input.UPGRADES: WhenSet("a BackendTrafficPolicy has it in `httpUpgrade`"),
            Input.ENCODED_SLASH: WhenSet(
                "a ClientTrafficPolicy has `path.escapedSlashesAction: KeepUnchanged` (in the chart"
                " `gateway.clientTraffic.escapedSlashes`)"
            ),
            Input.UNDERSCORES: WhenSet(
                "a ClientTrafficPolicy has `headers.withUnderscoresAction: Allow` (in the chart"
                " `gateway.clientTraffic.underscores`)"
            ),
        },
    }
)

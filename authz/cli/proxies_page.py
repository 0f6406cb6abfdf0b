"""What `docs/proxies.md` says beside its generated table."""

from __future__ import annotations

from collections.abc import Iterator

from authz.policy.integration import CAPABILITIES, MEANING, Always, Capability, Input, Proxy, WhenSet

INTRODUCTION = """\
Envoy's protocol has room for more than each integration fills. A rule that asks for what never comes is
served and never does what it says, so ask before you serve:

```sh
authz policy validate --proxy istio policies keys
authz policy validate --proxy gateway --sends body --sends context policies keys
```

`managed` is the Envoy of `authz envoy config`, and the chart's `envoy: managed`; [istio.md](istio.md) and
[envoy-gateway.md](envoy-gateway.md) are about the others. What an integration cannot send is an error, and
the exit code 1. What it sends only where its operator asks for it is a warning, `[proxy-setting]`, which
names the setting; once you have seen to it, `--sends` with the word of the table says so, and the warning
goes. With `--strict` a warning is a no, so a pipeline names exactly what its platform sends."""

ALIKE = """\
Each of them sends the method, path, query, host, scheme, protocol, `x-request-id`, time, size and headers
of a request, gRPC's content type and `;` in paths (`matrixParameters: keep`), and takes the headers and
refusals of an answer. Trailers nobody sends, and no document can ask for them. What differs and changes no
decision:"""

DIFFERENCES = (
    (
        "headers as they arrived (`encode_raw_headers`)",
        "yes",
        "no: repeated ones are joined, bad bytes are `!`",
        "no, likewise",
    ),
    (
        "the client's address",
        "the direct peer, or what `--trusted-hops` says",
        "the direct peer; behind an ingress gateway of the mesh `sidecar.trustedHops: 1`",
        "the direct peer of the gateway, which it has appended to `x-forwarded-for`: with proxies before it"
        " set `AUTHZ_TRUSTED_HOPS` and `AUTHZ_XFF_APPENDED`",
    ),
    ("an outage of the sidecar", "503", "`statusOnError`, else 403", "`statusOnError`, else 403"),
    ("how long is waited", "200 ms", "`timeout`, else **ten minutes**", "`timeout`, else 10 s"),
    (
        "a check whose connection broke",
        "is asked again",
        "is an outage",
        "is asked again where `backendSettings.retry` says so",
    ),
)


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the table's rows: the word, what it is, who needs it, and each integration."""
    for one in Input:
        what, needs = MEANING[one]
        yield f"`{one}`", what, needs, *(_told(CAPABILITIES[proxy][one]) for proxy in Proxy)


def _told(capability: Capability) -> str:
    if isinstance(capability, Always):
        return f"yes; {capability.note}" if capability.note else "yes"
    if isinstance(capability, WhenSet):
        return f"where {capability.how}"
    return f"no: {capability.mend}"

"""Hosts and host patterns that overlap in every way, and the plain reading of how they match."""

from __future__ import annotations

from hypothesis import strategies as st

from authz.policy.host import HostPattern, parse_host

# Few labels, so that patterns overlap in every way.
_LABELS = st.sampled_from(["a", "b", "x"])
_NAMES = st.lists(_LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.one_of(_NAMES, st.sampled_from(["[::1]", "127.0.0.1"]))
HOST_PATTERNS = st.one_of(
    HOSTS, _NAMES.map("*.{}".format), _NAMES.map("{{host}}.{}".format), st.just("*")
).map(parse_host)


def host_matches(pattern: HostPattern, host: str) -> dict[str, str] | None:
    """Match as the contract says it; None where it does not."""
    labels = host.split(".")
    below = labels[1:] and host.endswith("." + pattern.host)
    extra = len(labels) - len(pattern.host.split("."))
    if pattern.kind == "any" or (pattern.kind == "exact" and host == pattern.host):
        return {}
    if pattern.kind == "suffix" and below and extra >= 1:
        return {}
    if pattern.kind == "capture" and below and extra == 1:
        return {pattern.capture: labels[0]}
    return None

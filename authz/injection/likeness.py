"""Whether what stands in a pod is what the template put there, its defaults filled in by an API server.

An API server adds fields that have defaults and leaves out fields that say nothing; whoever sizes pods or
forces images to be pulled changes that; a mesh leads probes through its own proxy. Anything else that is
more, less or other is a difference: an environment variable or a command of somebody else's makes another
program of a container.
"""

from __future__ import annotations

from collections.abc import Iterator

from authz.injection.tree import Json, Object, mapping, text

# What the API server fills in where a pod does not say. Source: Kubernetes, pkg/apis/core/v1/defaults.go.
_DEFAULTS: dict[str, tuple[Json, ...]] = {
    "apiVersion": ("v1",),  # of a fieldRef
    "defaultMode": (0o644,),
    "failureThreshold": (3,),
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationMessagePath": ("/dev/termination-log",),
    "timeoutSeconds": (1,),
}
# What a cluster may change in pods: LimitRange, VPA, AlwaysPullImages.
_THE_CLUSTERS = frozenset(("resources", "resizePolicy", "imagePullPolicy", "terminationMessagePolicy"))
_PROBES = frozenset(("startupProbe", "livenessProbe", "readinessProbe"))
# Where Istio answers for the probes of all containers. Source: Istio, "Health Checking of Istio Services".
_MESH_PORT = 15020
_MESH_PATH = "/app-health/"


def differences(have: Object, want: Object, *, mesh: bool = False) -> Iterator[str]:
    """Yield the fields in which a container or volume of a pod is not what the template wants there.

    Args:
        mesh: Istio may have led its probes through its own proxy.
    """
    if not _same(_claims(have), _claims(want)):
        yield "resources"
    for key in sorted((want.keys() | have.keys()) - _THE_CLUSTERS):
        if mesh and key in _PROBES and _led_by_mesh(have.get(key)):
            continue
        if not _same_field(key, have, want):
            yield key


def _same_field(key: str, have: Object, want: Object) -> bool:
    if key not in want:
        return not have[key] or have[key] in _DEFAULTS.get(key, ())
    if key not in have:
        return not want[key]  # what is empty, zero or false is left out when it is stored
    return _same(have[key], want[key])


def _same(have: Json, want: Json) -> bool:
    if isinstance(want, dict) and isinstance(have, dict):
        return all(_same_field(key, have, want) for key in want.keys() | have.keys())
    if isinstance(want, list) and isinstance(have, list):
        return len(have) == len(want) and all(map(_same, have, want))
    return type(have) is type(want) and have == want


def _claims(container: Object) -> Json:
    """Return the devices that a container claims. SECURITY: with one come mounts and variables of others'."""
    return mapping(container.get("resources")).get("claims") or []


def _led_by_mesh(probe: Json) -> bool:
    """Tell whether Istio changed a probe's address. SECURITY: nothing else, or it could run a command."""
    asked = mapping(mapping(probe).get("httpGet"))
    return (
        "exec" not in mapping(probe)
        and "host" not in asked
        and asked.get("port") == _MESH_PORT
        and text(asked.get("path")).startswith(_MESH_PATH)
    )

"""Whether what stands in a pod is what the template put there, its defaults filled in by an API server.

An API server adds fields that have defaults and leaves out fields that say nothing; whoever sizes pods
changes resources. Anything else that is more, less or other is a difference: an environment variable or a
command of somebody else's makes another program of a container.
"""

from __future__ import annotations

from authz.injection.tree import Json, Object

# What the API server fills in where a pod does not say. Source: Kubernetes, pkg/apis/core/v1/defaults.go.
_DEFAULTS: dict[str, tuple[Json, ...]] = {
    "apiVersion": ("v1",),  # of a fieldRef
    "defaultMode": (0o644,),
    "failureThreshold": (3,),
    "imagePullPolicy": ("Always", "IfNotPresent"),  # by the image's tag
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
    "expirationSeconds": (3600,),
}
_SIZED = "resources"  # what sizes pods may change it in pods that exist


def covers(have: Json, want: Json) -> bool:
    """Tell whether a part of a pod is what the template wants there."""
    if isinstance(want, dict) and isinstance(have, dict):
        return _covers_object(have, want)
    if isinstance(want, list) and isinstance(have, list):
        return len(have) == len(want) and all(map(covers, have, want))
    return type(have) is type(want) and have == want


def _covers_object(have: Object, want: Object) -> bool:
    for key in want.keys() | have.keys():
        if key == _SIZED:
            continue
        if key not in want:
            if have[key] and have[key] not in _DEFAULTS.get(key, ()):
                return False
        elif key not in have:
            if want[key]:  # what is empty, zero or false is left out when it is stored
                return False
        elif not covers(have[key], want[key]):
            return False
    return True

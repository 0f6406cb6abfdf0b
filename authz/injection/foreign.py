"""What a pod brings of its own that would stand in the sidecar's way, or pass for a part of it.

SECURITY: an application's port called as Envoy's takes the Service's traffic, a mount of our volumes reads
the pepper of the keys, and shared processes show both. The guard in the cluster refuses the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from authz.injection.tree import Json, Object, is_ours, mapping, objects, quoted, text
from authz.injection.variables import Values

CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
_SHARED = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
_APPLICATION_PORT = "port"  # the variable that says where the application listens


def hindrance(spec: Mapping[str, Json], ours: Mapping[str, Json], values: Values) -> str:
    """Return what of a pod's own keeps the sidecar from doing its work, and what to do; "" for nothing.

    Args:
        ours: what the template puts into its `spec`.
    """
    numbers = [number for each in containers(ours) for number in _numbers(each)]
    others = [each for each in containers(spec) if not is_ours(text(each.get("name")))]
    return (
        _shares(spec)
        or _same_port(numbers, values)
        or next(filter(None, map(_mounts, others)), "")
        or next(filter(None, (_listens(each, numbers) for each in others)), "")
        or next(filter(None, (_past_envoy(each, values) for each in others)), "")
    )


def containers(spec: Mapping[str, Json]) -> Iterator[Object]:
    """Yield the containers of a pod, of whichever kind."""
    for name in CONTAINERS:
        yield from objects(spec.get(name))


def _shares(spec: Mapping[str, Json]) -> str:
    for field in _SHARED:
        if spec.get(field):
            return f"`spec.{field}` takes away what keeps the sidecar and its secrets apart: leave it out"
    return ""


def _numbers(container: Object) -> Iterator[int]:
    for port in objects(container.get("ports")):
        if isinstance(number := port.get("containerPort"), int):
            yield number


def _same_port(numbers: Sequence[int], values: Values) -> str:
    every = [*map(str, numbers), *(port for name, port in values.items() if name == _APPLICATION_PORT)]
    twice = next((port for index, port in enumerate(every) if port in every[:index]), None)
    if twice is None:
        return ""
    return f"two listen at port {twice}: give the application, Envoy and the sidecar a port each"


def _mounts(container: Object) -> str:
    for mount in objects(container.get("volumeMounts")):
        if is_ours(name := text(mount.get("name"))):
            who = quoted(container.get("name"))
            return (
                f"container {who} mounts {quoted(name)}, which is the sidecar's: mount a volume of your own"
            )
    return ""


def _listens(container: Object, numbers: Sequence[int]) -> str:
    who = quoted(container.get("name"))
    for port in objects(container.get("ports")):
        if is_ours(name := text(port.get("name"))):
            return f"container {who} names a port {quoted(name)}, as the sidecar does: name it otherwise"
        if port.get("containerPort") in numbers:
            number = quoted(port.get("containerPort"))
            return f"container {who} listens at {number}, as the sidecar does: move one of them"
    return ""


def _past_envoy(container: Object, values: Values) -> str:
    for port in objects(container.get("ports")):
        if port.get("hostPort") and str(port.get("containerPort")) == values.get(_APPLICATION_PORT):
            who = quoted(container.get("name"))
            return f"container {who} is reached past Envoy by the `hostPort` of its port: take that out"
    return ""


def names_ours(spec: Mapping[str, Json]) -> bool:
    """Tell whether a pod has a container or a volume with a name of the sidecar's."""
    items = [*containers(spec), *objects(spec.get("volumes"))]
    return any(is_ours(text(mapping(each).get("name"))) for each in items)

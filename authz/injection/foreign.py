"""What a pod brings of its own that would stand in the sidecar's place, or beside it under its name.

SECURITY: what is merged instead of refused is a way around the sidecar: an application's port called as
Envoy's takes the Service's traffic, a mount of our volumes reads the pepper of the keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from authz.injection.tree import Json, Object, names, objects, quoted, text
from authz.injection.variables import Values

_LISTS = ("initContainers", "containers", "ephemeralContainers")
_APPLICATION_PORT = "port"  # the variable that says where the application listens


def claims_ours(spec: Mapping[str, Json], wanted: Mapping[str, Json], values: Values) -> str:
    """Return what a pod that was not injected has of ours, and what to do; "" where it has nothing."""
    for fault in (
        _names(spec, wanted),
        _volumes(spec, wanted),
        _ports(spec, wanted),
        _application_port(wanted, values),
    ):
        if fault:
            return fault
    return ""


def _containers(spec: Mapping[str, Json]) -> Iterator[Object]:
    for name in _LISTS:
        yield from objects(spec.get(name))


def _names(spec: Mapping[str, Json], wanted: Mapping[str, Json]) -> str:
    ours = {text(each.get("name")) for each in _containers(wanted)}
    for each in _containers(spec):
        if (name := text(each.get("name"))) in ours:
            return (
                f"it has a container {quoted(name)} that is not the template's: rename it, or if an earlier "
                "template put it there, begin with the manifest as it was before"
            )
    return ""


def _volumes(spec: Mapping[str, Json], wanted: Mapping[str, Json]) -> str:
    ours = set(names(wanted.get("volumes")))
    for name in names(spec.get("volumes")):
        if name in ours:
            return f"it has a volume {quoted(name)}, which is a name of the sidecar's: rename it"
    for container in _containers(spec):
        for mount in objects(container.get("volumeMounts")):
            if (name := text(mount.get("name"))) in ours:
                who = quoted(text(container.get("name")))
                return f"container {who} mounts {quoted(name)}, which is the sidecar's: remove the mount"
    return ""


def _ports(spec: Mapping[str, Json], wanted: Mapping[str, Json]) -> str:
    called, numbers = _our_ports(wanted)
    for container in _containers(spec):
        who = quoted(text(container.get("name")))
        for port in objects(container.get("ports")):
            if (name := text(port.get("name"))) in called:
                return f"container {who} calls a port {quoted(name)}, as the sidecar does: rename it"
            if port.get("containerPort") in numbers:
                number = port.get("containerPort")
                return f"container {who} listens at {number}, as the sidecar does: move one of them"
    return ""


def _our_ports(wanted: Mapping[str, Json]) -> tuple[set[str], list[int]]:
    ports = [port for each in _containers(wanted) for port in objects(each.get("ports"))]
    called = {text(port.get("name")) for port in ports} - {""}
    return called, [number for port in ports if isinstance(number := port.get("containerPort"), int)]


def _application_port(wanted: Mapping[str, Json], values: Values) -> str:
    port = values.get(_APPLICATION_PORT, "")
    numbers = _our_ports(wanted)[1]
    if str(port) in map(str, numbers):
        return f"the application's port is said to be {quoted(port)}, where the sidecar listens: name another"
    return ""

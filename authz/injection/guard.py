"""Whether a pod that asks for the sidecar has it."""

from __future__ import annotations

from collections.abc import Iterator

from authz.injection.pod import asked
from authz.injection.template import Template
from authz.injection.tree import Json, Object, TurnedAway, mapping, objects, quoted, text

_ALWAYS = "Always"  # the restart policy that makes a sidecar of an init container


def lacks_sidecar(pod: Json, template: Template) -> str:
    """Return what a pod that asks for the sidecar lacks; "" where it has it, or does not ask.

    For counting pods that run: what an earlier version of the chart injected is a sidecar, too, so only the
    names of the containers that stay are asked for. The rest is the guard's work, when a pod is created.
    """
    wanted = asked(pod, template)
    if isinstance(wanted, TurnedAway):
        return wanted.why
    if not wanted:
        return ""
    runs = set(_staying(mapping(pod).get("spec")))
    for each in (*template.init_containers, *template.containers):
        name = text(each.get("name"))
        if name not in runs and _stays(each, template):
            return f"it runs without the container {quoted(name)}: delete it, and have it created again"
    return ""


def _stays(container: Object, template: Template) -> bool:
    return container in template.containers or container.get("restartPolicy") == _ALWAYS


def _staying(spec: Json) -> Iterator[str]:
    """Yield the names of the containers that run as long as the pod does."""
    for each in objects(mapping(spec).get("containers")):
        yield text(each.get("name"))
    for each in objects(mapping(spec).get("initContainers")):
        if each.get("restartPolicy") == _ALWAYS:
            yield text(each.get("name"))

"""A Service led to the pod's Envoy: the target of its HTTP port becomes the port that Envoy listens at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from authz.injection.pod import asked
from authz.injection.template import ServiceRule, Template
from authz.injection.tree import Json, Object, TurnedAway, mapping, objects, quoted, text

_TCP = "TCP"
_HTTP = "http"  # the name by which a port of several is known to be ours to move


class Moved(NamedTuple):
    """A Service whose port leads to Envoy; the one that was given is not changed."""

    service: Object


class Unmoved(NamedTuple):
    """A Service that stays as it is.

    Args:
        led: it leads to Envoy already; else it does not ask for it.
    """

    led: bool


ServiceOutcome: TypeAlias = Moved | Unmoved | TurnedAway


def move_service(service: Json, template: Template, *, selected: bool = False) -> ServiceOutcome:
    """Lead a Service to Envoy: its only port, the one that the annotation names, or the one named `http`.

    Any JSON may stand in it: nothing is raised for it.

    Args:
        selected: it selects pods that were injected, and is moved unless its label says `"false"`.
    """
    if template.service is None or not isinstance(service, dict):
        return Unmoved(led=False)
    wanted = asked(service, template)
    if isinstance(wanted, TurnedAway):
        return wanted
    labels = mapping(mapping(service.get("metadata")).get("labels"))
    if not (wanted or (selected and template.label not in labels)):
        return Unmoved(led=False)
    ports = mapping(service.get("spec")).get("ports")
    if not isinstance(ports, list) or not objects(ports):
        return TurnedAway("it has no `spec.ports`: write the port that clients use")
    if len(objects(ports)) != len(ports):
        return TurnedAway("`spec.ports` holds what is no mapping: write its fields")
    index = _which(service, objects(ports), template.service)
    return index if isinstance(index, TurnedAway) else _moved(service, index, template.service)


def _which(service: Object, ports: Sequence[Object], rule: ServiceRule) -> int | TurnedAway:
    """Return the position of the port to move."""
    annotations = mapping(mapping(service.get("metadata")).get("annotations"))
    said = annotations.get(rule.annotation, _HTTP)
    if not isinstance(said, str):
        return TurnedAway(f"annotation `{rule.annotation}` is no text: put {quoted(said)} in quotes")
    found = [index for index, port in enumerate(ports) if text(port.get("name")) == said]
    if len(ports) == 1 and rule.annotation not in annotations:
        found = [0]
    if len(found) != 1:
        return TurnedAway(
            "which port of the Service leads to the application is not clear: "
            f"name it `{_HTTP}`, or write its name into annotation `{rule.annotation}`"
        )
    if (ports[found[0]].get("protocol") or _TCP) != _TCP:
        return TurnedAway("the port that is to lead to the application is not TCP: choose another")
    return found[0]


def _moved(service: Object, index: int, rule: ServiceRule) -> Moved | Unmoved:
    spec = dict(mapping(service.get("spec")))
    ports = list(objects(spec["ports"]))
    if ports[index].get("targetPort") == rule.target_port:
        return Unmoved(led=True)
    ports[index] = {**ports[index], "targetPort": rule.target_port}
    return Moved({**service, "spec": {**spec, "ports": [*ports]}})

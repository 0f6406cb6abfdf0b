"""A pod with the sidecar put into it, or the sentence that says why it cannot be.

What comes out is what the API server stores when the chart's MutatingAdmissionPolicy has applied the same
template (server-side apply: mappings are merged, lists by the name of their items, what is new comes last).
There is one difference, on purpose: where a pod brings something of its own under one of our names, the
policy merges both and leaves it to the guard to refuse the pod. Here it is refused at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from authz.injection.foreign import claims_ours
from authz.injection.likeness import covers
from authz.injection.template import Template
from authz.injection.tree import Json, Object, TurnedAway, mapping, misshapen, names, objects, quoted, text
from authz.injection.variables import Values, filled, filled_object, resolve


class Injected(NamedTuple):
    """A pod with the sidecar in it; the one that was given is not changed."""

    pod: Object


class LeftAlone(NamedTuple):
    """A pod that stays as it is.

    Args:
        complete: it has the sidecar already; else it does not ask for one.
    """

    complete: bool


Outcome: TypeAlias = Injected | LeftAlone | TurnedAway


def asked(thing: Json, template: Template) -> bool | TurnedAway:
    """Tell whether a pod, a pod template or a Service asks for the sidecar by its label."""
    labels = mapping(mapping(mapping(thing).get("metadata")).get("labels"))
    word = labels.get(template.label, "false")
    if word in ("true", "false") and isinstance(word, str):
        return word == "true"
    # A word that only looks like yes would start a pod without its sidecar, and nobody would be told.
    return TurnedAway(f'label `{template.label}` says {quoted(word)}: write `"true"` or `"false"`, in quotes')


def inject_pod(pod: Json, template: Template) -> Outcome:
    """Put the sidecar into a pod or a pod template (`metadata` and `spec`; the rest is kept).

    Any JSON may stand in it: nothing is raised for it.
    """
    wanted = asked(pod, template)
    if isinstance(wanted, TurnedAway):
        return wanted
    if not wanted or not isinstance(pod, dict):
        return LeftAlone(complete=False)
    if fault := misshapen(pod):
        return TurnedAway(fault)
    values = resolve(template.variables, mapping(pod.get("metadata")).get("annotations"))
    if isinstance(values, TurnedAway):
        return values
    return _put_in(pod, part_for(template, values), values)


def part_for(template: Template, values: Values) -> Object:
    """Return what the template puts into a pod that chose these values: `metadata` and `spec`."""
    lists: Mapping[str, tuple[Object, ...]] = {
        "initContainers": template.init_containers,
        "containers": template.containers,
        "volumes": template.volumes,
        "imagePullSecrets": template.pull_secrets,
    }
    spec: Object = {name: [filled(each, values) for each in items] for name, items in lists.items() if items}
    maps = {"annotations": template.annotations, "labels": template.labels}
    metadata: Object = {name: filled_object(part, values) for name, part in maps.items() if part}
    return {"metadata": metadata, "spec": spec}


def _put_in(pod: Object, part: Object, values: Values) -> Outcome:
    wanted = mapping(part["spec"])
    if _has_all(mapping(pod.get("spec")), wanted):
        merged = merge(pod, part)
        return LeftAlone(complete=True) if merged == pod else Injected(merged)
    if why := claims_ours(mapping(pod.get("spec")), wanted, values):
        return TurnedAway(why)
    return Injected(merge(pod, part))


def _has_all(spec: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    """Tell whether everything of ours stands in a pod, as the template has it and in its order."""
    for name, items in wanted.items():
        ours = [text(each.get("name")) for each in objects(items)]
        found = [each for each in objects(spec.get(name)) if text(each.get("name")) in ours]
        if not covers(list(found), list(objects(items))):
            return False
    return True


def merge(pod: Object, part: Object) -> Object:
    """Return the pod with a part put in: texts are set, and items whose names it does not have come last."""
    merged = dict(pod)
    for outer, below in part.items():
        if below:
            inner = dict(mapping(pod.get(outer)))
            inner.update({name: _joined(inner.get(name), value) for name, value in mapping(below).items()})
            merged[outer] = inner
    return merged


def _joined(have: Json, ours: Json) -> Json:
    if isinstance(ours, dict):
        return {**mapping(have), **ours}
    items = have if isinstance(have, list) else []
    present = set(names(items))
    return [*items, *(each for each in objects(ours) if text(each.get("name")) not in present)]

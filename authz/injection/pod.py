"""A pod with the sidecar put into it, or the sentence that says why it cannot be.

What comes out is what the API server stores when the chart's MutatingAdmissionPolicy has put the same
template in: what is new comes last in each list. What that policy leaves to the guard is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from authz.injection.foreign import hindrance, names_ours
from authz.injection.likeness import differences
from authz.injection.template import Template
from authz.injection.tree import (
    Json,
    Object,
    TurnedAway,
    is_ours,
    mapping,
    misshapen,
    names,
    objects,
    quoted,
    text,
)
from authz.injection.unread import unread
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


_RUNNING = ("initContainers", "containers")
_ANEW = "from what the template puts in: begin with the manifest as it was before"

Outcome: TypeAlias = Injected | LeftAlone | TurnedAway


def asked(thing: Json, template: Template) -> bool | TurnedAway:
    """Tell whether a pod, a pod template or a Service asks for the sidecar by its label."""
    labels = mapping(mapping(mapping(thing).get("metadata")).get("labels"))
    word = labels.get(template.label, "")
    if isinstance(word, str) and word in ("true", "false", ""):
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
    # A misspelled one would leave a default in force that was not meant, such as another policy set.
    if why := next(unread(pod, template), ""):
        return TurnedAway(why)
    return _put_in(pod, part_for(template, values), values, template)


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


def _put_in(pod: Object, part: Object, values: Values, template: Template) -> Outcome:
    spec, ours = mapping(pod.get("spec")), mapping(part["spec"])
    if why := hindrance(spec, ours, values):
        return TurnedAway(why)
    if not names_ours(spec):
        return Injected(merge(pod, part))
    if why := _incomplete(spec, ours, template):
        return TurnedAway(why)
    return LeftAlone(complete=True)


def _incomplete(spec: Mapping[str, Json], ours: Mapping[str, Json], template: Template) -> str:
    """Return how what a pod has under our names differs from the template; "" where it is all of it."""
    mesh = template.service is None
    for part in ("initContainers", "containers", "volumes") if template.exact else _RUNNING:
        wanted = objects(ours.get(part))
        found = [each for each in objects(spec.get(part)) if is_ours(text(each.get("name")))]
        if part == "volumes":  # whose order means nothing
            found.sort(key=lambda each: text(each.get("name")))
            wanted = sorted(wanted, key=lambda each: text(each.get("name")))
        if [each.get("name") for each in found] != [each.get("name") for each in wanted]:
            return _other_names(part, wanted)
        for have, want in zip(found, wanted, strict=True) if template.exact else ():
            if fields := ", ".join(differences(have, want, mesh=mesh)):
                return f"{quoted(want['name'])} in `spec.{part}` differs in {fields} {_ANEW}"
    return ""


def _other_names(part: str, wanted: Sequence[Object]) -> str:
    names_wanted = ", ".join(text(each.get("name")) for each in wanted) or "none"
    return (
        f"names `authz` and `authz-*` in `spec.{part}` belong to the sidecar, which has {names_wanted}: "
        "rename yours, or begin with the manifest as it was before anything was put in"
    )


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

"""A pod with the sidecar put into it, or the sentence that says why it cannot be.

What comes out is what the API server stores when the chart's MutatingAdmissionPolicy has applied the same
template (server-side apply: mappings are merged, lists by the name of their items, what is new comes last).
There is one difference, on purpose: where a pod brings something of its own under one of our names, the
policy merges both and leaves it to the guard to refuse the pod. Here it is refused at once.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from authz.injection.template import Template
from authz.injection.tree import Object, TurnedAway


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


def inject_pod(pod: Object, template: Template) -> Outcome:
    """Put the sidecar into a pod or a pod template (`metadata` and `spec`; the rest is kept).

    Any JSON may stand in it: nothing is raised for it.
    """
    raise NotImplementedError

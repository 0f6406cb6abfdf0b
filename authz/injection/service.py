"""A Service led to the pod's Envoy: the target of its HTTP port becomes the port that Envoy listens at."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from authz.injection.template import Template
from authz.injection.tree import Object, TurnedAway


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


def move_service(service: Object, template: Template, *, asked: bool = False) -> ServiceOutcome:
    """Lead a Service to Envoy: its only port, the one that the annotation names, or the one named `http`.

    Args:
        asked: move it without the label, too, since it selects pods that were injected.
    """
    raise NotImplementedError

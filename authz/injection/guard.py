"""Whether a pod that asks for the sidecar has it."""

from __future__ import annotations

from authz.injection.template import Template
from authz.injection.tree import Object


def lacks_sidecar(pod: Object, template: Template) -> str:
    """Return what a pod that asks for the sidecar lacks; "" where it has it, or does not ask.

    For counting pods that run: what an earlier version of the chart injected has it too, so images, arguments
    and resources are not compared. That is the guard's work, when a pod is created.
    """
    raise NotImplementedError

"""Whether a pod that runs has its sidecar: what is asked of those that nobody judged when they were created.

What an earlier version of the chart put in is a sidecar, too, so only the names of the containers that run as
long as the pod does are asked for. The rest is the guard's work, when a pod is created.
"""

from __future__ import annotations

from authz.injection.template import Template
from authz.injection.tree import text

ALWAYS = "Always"  # the restart policy that makes a sidecar of an init container


def required(template: Template) -> tuple[str, ...]:
    """Return the names of the containers without which a pod that asked runs without its sidecar.

    SECURITY: an init container of such a name that ends protects nobody, so whoever compares counts only
    containers and those init containers whose restart policy is `ALWAYS`.
    """
    native = [each for each in template.init_containers if each.get("restartPolicy") == ALWAYS]
    return tuple(text(each.get("name")) for each in (*native, *template.containers))

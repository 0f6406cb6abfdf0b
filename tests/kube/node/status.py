"""How a pod is, in the words of the API: what its kubelet reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.kube.node.environment import Object

if TYPE_CHECKING:
    from tests.kube.node.running import Container

_EPOCH = "2020-01-01T00:00:00Z"  # nobody asks when


def status(containers: Sequence[Container], address: str, phase: str, trouble: str) -> Object:
    """Return a pod's `status`.

    Args:
        containers: all of it, in order.
        phase: `Pending` until every init container has done its part.
        trouble: why it cannot begin.
    """
    ready = phase == "Running" and all(one.ready for one in containers if one.kind != "init")
    reason = {"reason": "ContainersNotReady"} if not ready else {}
    states = {
        "PodReadyToStartContainers": not trouble,
        "Initialized": phase != "Pending",
        "ContainersReady": ready,
        "Ready": ready,
    }
    return {
        "phase": phase,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "127.0.0.1",
        "startTime": _EPOCH,
        "message": trouble,
        "conditions": [
            {
                "type": name,
                "status": "True" if holds else "False",
                "lastTransitionTime": _EPOCH,
                **({} if holds else reason),
            }
            for name, holds in states.items()
        ],
        "initContainerStatuses": [_of(one, trouble) for one in containers if one.kind != "ordinary"],
        "containerStatuses": [_of(one, trouble) for one in containers if one.kind == "ordinary"],
    }


def _of(container: Container, trouble: str) -> Object:
    return {
        "name": container.name,
        "image": container.spec["image"],
        "imageID": "",
        "ready": container.ready,
        "started": container.started,
        "restartCount": max(0, container.restarts),
        "state": _state(container, trouble),
    }


def _state(container: Container, trouble: str) -> Object:
    if container.running:
        return {"running": {"startedAt": _EPOCH}}
    if container.code is not None:
        reason = "Completed" if container.code == 0 else "Error"
        return {"terminated": {"exitCode": container.code, "reason": reason, "message": container.message()}}
    if container.trouble:
        return {"waiting": {"reason": "CreateContainerConfigError", "message": container.trouble}}
    return {"waiting": {"reason": "ContainerCreating" if trouble else "PodInitializing", "message": trouble}}

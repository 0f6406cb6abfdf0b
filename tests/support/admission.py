"""What an API server sends to a webhook, and a small template for it."""

from __future__ import annotations

import json
from typing import Any

LABEL = "sidecar.authz/inject"
TEMPLATE = json.dumps(
    {
        "version": 1,
        "label": LABEL,
        "variables": {
            "port": {
                "annotation": "sidecar.authz/port",
                "default": "8080",
                "pattern": "^([1-9][0-9]{0,4})$",
                "message": "a port, 1 to 65535",
            }
        },
        "pod": {
            "metadata": {"annotations": {"sidecar.authz/status": "abc"}},
            "spec": {
                "initContainers": [
                    {
                        "name": "authz",
                        "image": "authz:1",
                        "args": ["--port=${port}"],
                        "restartPolicy": "Always",
                        "ports": [{"name": "authz-http", "containerPort": 9180}],
                    }
                ],
                "volumes": [{"name": "authz-run", "emptyDir": {}}],
            },
        },
        "service": {"targetPort": "authz-http", "annotation": "sidecar.authz/service-port"},
    }
).encode()


def pod(*, label: str = "true", **annotations: str) -> dict[str, Any]:
    """Return a pod; `annotations` are named without their prefix."""
    notes = {f"sidecar.authz/{name}": text for name, text in annotations.items()}
    metadata = {"name": "items", "labels": {LABEL: label} if label else {}, "annotations": notes}
    return {"metadata": metadata, "spec": {"containers": [{"name": "application", "image": "items:1"}]}}


def service() -> dict[str, Any]:
    """Return a Service that asks to be moved."""
    spec = {"ports": [{"port": 80, "targetPort": 8080}]}
    return {"metadata": {"name": "items", "labels": {LABEL: "true"}}, "spec": spec}


def question(thing: object, kind: str = "Pod", operation: str = "CREATE", **more: object) -> bytes:
    """Return an AdmissionReview about a thing."""
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": kind},
        "operation": operation,
        "object": thing,
        **more,
    }
    return json.dumps(
        {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ).encode()

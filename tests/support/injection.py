"""A small template for tests of injection, and pods for it."""

from __future__ import annotations

import json
from typing import Any

from authz.injection.template import Template
from authz.injection.tree import Object

LABEL = "sidecar.authz/inject"
PORT = "^([1-9][0-9]{0,4})$"


def written(**changes: Any) -> dict[str, Any]:
    """Return a template as it is written, with some of its parts changed; None leaves one out."""
    whole: dict[str, Any] = {
        "version": 1,
        "label": LABEL,
        "variables": {
            "port": {
                "annotation": "sidecar.authz/port",
                "default": "8080",
                "pattern": PORT,
                "message": "a port, 1 to 65535",
            },
            "listenPort": {
                "annotation": "sidecar.authz/listen-port",
                "default": "9180",
                "pattern": PORT,
                "message": "a port, 1 to 65535",
            },
            "hosts": {
                "annotation": "sidecar.authz/hosts",
                "default": "",
                "pattern": "^[a-z.*,]+$",
                "message": "the hosts, with commas",
            },
            "policies": {
                "annotation": "sidecar.authz/policies",
                "default": "default",
                "choices": {"default": "authz-policies-default", "other": "authz-policies-other"},
                "message": "the name of a set",
            },
        },
        "pod": {
            "metadata": {"annotations": {"sidecar.authz/status": "abc"}},
            "spec": {
                "initContainers": [
                    {"name": "authz-init", "image": "authz:1", "args": ["--hosts=${hosts}", "--to=${port}"]},
                    {
                        "name": "authz",
                        "image": "authz:1",
                        "restartPolicy": "Always",
                        "ports": [{"name": "authz-ops", "containerPort": 9192, "protocol": "TCP"}],
                        "startupProbe": {"httpGet": {"path": "/health", "port": 9192}},
                        "volumeMounts": [{"name": "authz-policies", "mountPath": "/etc/authz/policies"}],
                    },
                    {
                        "name": "authz-envoy",
                        "image": "envoy:1",
                        "restartPolicy": "Always",
                        "ports": [{"name": "authz-http", "containerPort": "${int:listenPort}"}],
                    },
                ],
                "volumes": [{"name": "authz-policies", "configMap": {"name": "${policies}"}}],
                "imagePullSecrets": [{"name": "registry"}],
            },
        },
        "service": {"targetPort": "authz-http", "annotation": "sidecar.authz/service-port"},
    }
    return {name: part for name, part in {**whole, **changes}.items() if part is not None}


def template(**changes: Any) -> Template:
    """Return a template, some of its parts changed."""
    return Template.parse(json.dumps(written(**changes)).encode())


def pod(annotations: Object | None = None, label: Any = "true", **spec: Any) -> Object:
    """Return a pod that asks for the sidecar."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "shop",
            "labels": {LABEL: label},
            "annotations": {"sidecar.authz/hosts": "shop.localhost", **(annotations or {})},
        },
        "spec": {"containers": [{"name": "application", "image": "shop"}], **spec},
    }

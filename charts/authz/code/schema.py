"""values.schema.json: strict on what is ours, open where objects of Kubernetes pass through.

Helm shows a pattern as it stands and no description, so the schema holds no patterns: what must have a form
is refused by a sentence in templates/validate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby

from charts.authz.code.values import Row

Schema = dict[str, object]

_TEXTS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": True}
_NAMES: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_PORTS: Schema = {"type": "array", "items": _PORT, "uniqueItems": True}
_OBJECT: Schema = {"type": "object"}
_OBJECTS: Schema = {"type": "array", "items": _OBJECT}
_AMOUNTS: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_RESOURCES: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": _AMOUNTS, "limits": _AMOUNTS, "claims": _OBJECTS},
}
_SETS: Schema = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"files": _NAMES, "existingConfigMap": {"type": "string"}},
    },
}
_BODY: Schema = {"type": "integer", "minimum": 0, "maximum": 3 * 1024 * 1024}  # a check holds 4 MiB
_GATEWAY: Schema = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "namespace"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "namespace": {"type": "string", "minLength": 1},
    },
}
_GATEWAYS: Schema = {"type": "array", "items": _GATEWAY, "uniqueItems": True}

# What the default alone does not tell.
_TOLD: Mapping[str, Schema] = {
    "injection": {"enum": ["policy", "webhook", "none"]},
    "envoy": {"enum": ["managed", "istio", "gateway"]},
    "deployment": {"enum": ["sidecar", "service"]},
    "image.pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "image.repository": {"type": "string", "minLength": 1},
    "sidecar.port": _PORT,
    "sidecar.listenPort": _PORT,
    "sidecar.trustedHops": {"type": "integer", "minimum": 0, "maximum": 16},
    "sidecar.workers": {"type": "integer", "minimum": 1, "maximum": 64},
    "sidecar.address": {"enum": ["0.0.0.0", "[::]"]},  # noqa: S104 - of a pod, behind its network policy
    "sidecar.logLevel": {"enum": ["debug", "info", "warning", "error"]},
    "sidecar.settings": {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    "envoyProxy.image": {"type": "string", "minLength": 1},
    "envoyProxy.concurrency": {"type": "integer", "minimum": 1, "maximum": 64},
    "envoyProxy.timeoutMs": {"type": "integer", "minimum": 1, "maximum": 60000},
    "policies.sets": _SETS,
    "service.port": {"type": "integer", "minimum": 1024, "maximum": 65535},
    "service.replicas": {"type": "integer", "minimum": 1},
    "service.affinity": _OBJECT,
    "service.tolerations": _OBJECTS,
    "service.topologySpreadConstraints": _OBJECTS,
    "istio.provider": {"type": "string", "minLength": 1, "maxLength": 63},
    "istio.timeoutMs": {"type": "integer", "minimum": 1, "maximum": 60000},
    "istio.bodyBytes": _BODY,
    "istio.rules": {**_OBJECTS, "minItems": 1},
    "istio.openPorts": _PORTS,
    "gateway.gateways": _GATEWAYS,
    "gateway.timeoutMs": {"type": "integer", "minimum": 1, "maximum": 60000},
    "gateway.bodyBytes": _BODY,
    "gateway.retries": {"type": "integer", "minimum": 0, "maximum": 10},
    "gateway.clientTraffic.escapedSlashes": {"enum": ["RejectRequest", "KeepUnchanged"]},
    "gateway.clientTraffic.underscores": {"enum": ["RejectRequest", "DropHeader", "Allow"]},
    "networkPolicy.listenPorts": _PORTS,
    "networkPolicy.openPorts": _PORTS,
    "networkPolicy.monitoring": _OBJECTS,
    "networkPolicy.serviceClients": _OBJECTS,
    "podDisruptionBudget.maxUnavailable": {"type": "integer", "minimum": 1},
    "webhook.replicas": {"type": "integer", "minimum": 1},
    "webhook.port": {"type": "integer", "minimum": 1024, "maximum": 65535},
    "webhook.tolerations": _OBJECTS,
    "watch.tolerations": _OBJECTS,
}


def schema(rows: Sequence[Row]) -> str:
    """Return the text of values.schema.json."""
    top = _object([(row.place.split("."), _of(row)) for row in rows])
    around = {"global": {"type": "object", "description": "What a chart around this one says; not used."}}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart authz"}
    properties = {**top.pop("properties"), **around}  # type: ignore[dict-item]  # made by `_object`
    return json.dumps({**head, **top, "properties": properties}, indent=1) + "\n"


def _object(values: Sequence[tuple[Sequence[str], Schema]]) -> Schema:
    """Return a closed object. No key may be missing: templates read each, and `null` takes one away."""
    properties: dict[str, Schema] = {}
    for first, group in groupby(values, key=lambda value: value[0][0]):
        below = [(place[1:], what) for place, what in group]
        properties[first] = _object(below) if below[0][0] else below[0][1]
    closed = {"type": "object", "additionalProperties": False, "required": list(properties)}
    return {**closed, "properties": properties}


def _of(row: Row) -> Schema:
    return {**(_TOLD.get(row.place) or _guessed(row)), "description": row.meaning}


def _guessed(row: Row) -> Schema:
    """Return what the default tells."""
    if row.place.endswith(".resources"):
        return _RESOURCES
    match row.default:
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 0}
        case str():
            return {"type": "string"}
        case list():
            return _TEXTS
        case dict():
            return _NAMES

"""Which fields of a stored pod the kubelet of the tests honours, and which it knows that it does not show.

Any other field is refused aloud: a template must not grow something that no test sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shape = Mapping[str, Any]  # a field's name -> the shape of what is in it; None: anything


class NotHonoured(Exception):
    """A pod says something that the kubelet of the tests does not know how to do."""


def _fields(names: str, **deeper: Any) -> Shape:
    return {**dict.fromkeys(names.split()), **deeper}


_ITEMS = _fields("key path mode")
_FILES = _fields("name secretName optional defaultMode", items=_ITEMS)
_REFERENCE = _fields("name key optional")
_FIELD = _fields("fieldPath apiVersion")
_RESOURCE = _fields("containerName resource divisor")
_DOWNWARD = {
    "items": {**_fields("path mode"), "fieldRef": _FIELD, "resourceFieldRef": _RESOURCE},
    "defaultMode": None,
}
_ASK = _fields("path port scheme host", httpHeaders=_fields("name value"))
_HANDLER = {"httpGet": _ASK, "tcpSocket": _fields("port host"), "exec": _fields("command")}
_PROBE = {
    **_HANDLER,
    **_fields("initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold"),
}
_SECURITY = _fields(
    "runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation",
    capabilities=_fields("drop"),
    # Not shown: this machine's kernel filters nothing for us.
    seccompProfile=_fields("type"),
)
_ENVIRONMENT = {
    "name": None,
    "value": None,
    "valueFrom": {
        "configMapKeyRef": _REFERENCE,
        "secretKeyRef": _REFERENCE,
        "fieldRef": _FIELD,
        "resourceFieldRef": _RESOURCE,
    },
}
_CONTAINER = _fields(
    "name image command args workingDir restartPolicy terminationMessagePath terminationMessagePolicy",
    # Not shown: images are programs of this machine.
    imagePullPolicy=None,
    # Not shown, but by what processes use of memory: see `Pod.memory_bytes`.
    resources=_fields("requests limits"),
    ports=_fields("name containerPort protocol"),
    env=_ENVIRONMENT,
    envFrom={"prefix": None, "configMapRef": _fields("name optional"), "secretRef": _fields("name optional")},
    volumeMounts=_fields("name mountPath readOnly subPath"),
    securityContext=_SECURITY,
    startupProbe=_PROBE,
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    lifecycle={"preStop": {**_HANDLER, "sleep": _fields("seconds")}},
)
_VOLUME = {
    "name": None,
    "emptyDir": _fields("medium sizeLimit"),  # sizes are shown where the medium is memory
    "configMap": _FILES,
    "secret": _FILES,
    "downwardAPI": _DOWNWARD,
    "projected": {
        "defaultMode": None,
        "sources": {
            "configMap": _FILES,
            "secret": _FILES,
            "downwardAPI": _DOWNWARD,
            "serviceAccountToken": _fields("path expirationSeconds audience"),
        },
    },
}
POD = _fields(
    "nodeName restartPolicy serviceAccountName enableServiceLinks automountServiceAccountToken"
    " terminationGracePeriodSeconds activeDeadlineSeconds hostname",
    # Somebody else's to honour, and done before a pod comes to its node.
    serviceAccount=None,
    schedulerName=None,
    priority=None,
    preemptionPolicy=None,
    tolerations=None,
    nodeSelector=None,
    affinity=None,
    topologySpreadConstraints=None,
    imagePullSecrets=None,
    # Not shown: names are resolved by /etc/hosts alone.
    dnsPolicy=None,
    securityContext=_fields(
        "runAsUser runAsGroup runAsNonRoot fsGroup supplementalGroups", seccompProfile=_fields("type")
    ),
    initContainers=_CONTAINER,
    containers=_CONTAINER,
    volumes=_VOLUME,
)


def refuse_unknown(spec: Mapping[str, Any]) -> None:
    """Hold a pod's `spec` against what is known.

    Raises:
        NotHonoured: it has a field that is not.
    """
    _walk("spec", spec, POD)


def _walk(where: str, value: Any, shape: Shape | None) -> None:
    if shape is None:
        return
    if isinstance(value, list):
        for number, item in enumerate(value):
            _walk(f"{where}[{number}]", item, shape)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in shape:
                raise NotHonoured(f"{where}.{name}: the kubelet of the tests does not know this field")
            _walk(f"{where}.{name}", inner, shape[name])

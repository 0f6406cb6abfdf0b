"""The environment and the command of a container, as a kubelet works them out."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from tests.kube.node.fields import NotHonoured

Object = dict[str, Any]
_REFERENCE = re.compile(r"\$(\$|\(([^()]+)\))")
_QUANTITY = re.compile(r"^([0-9.]+)([a-zA-Z]*)$")
_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{name: Decimal(1000) ** power for power, name in enumerate(("k", "M", "G", "T"), 1)},
    **{name: Decimal(1024) ** power for power, name in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)},
}
_CAPACITY = {"cpu": Decimal(2), "memory": Decimal(4 * 1024**3)}  # of the node, where a container has no limit


class NotConfigured(Exception):
    """A container cannot be made: the kubelet would say `CreateContainerConfigError`."""


class Stored(Protocol):
    """Where objects are read."""

    def get(self, kind: str, namespace: str, name: str = "") -> Object | None:
        """Return an object, or None."""
        ...


def environment(
    container: Object, pod: Object, stored: Stored, image_env: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of a container.

    Raises:
        NotConfigured: one comes from what is not there.
    """
    env = {**image_env, "HOSTNAME": pod["metadata"]["name"], "HOME": "/"}
    env.update(service_links(pod, stored))
    for source in container.get("envFrom", ()):
        env.update(_whole(source, pod, stored))
    for variable in container.get("env", ()):
        if "valueFrom" in variable:
            value = _from(variable["valueFrom"], container, pod, stored)
            env.update({} if value is None else {variable["name"]: value})
        else:
            env[variable["name"]] = expanded(variable.get("value", ""), env)
    return env


def expanded(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by variables that there are; `$$` is a dollar sign."""

    def replace(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else env.get(found[2], found[0])

    return _REFERENCE.sub(replace, text)


def command(
    container: Object, entrypoint: Sequence[str], arguments: Sequence[str], env: Mapping[str, str]
) -> list[str]:
    """Return what is run: a container's `command` also takes the image's arguments away."""
    own = container.get("command")
    given = container.get("args", () if own else arguments)
    return [expanded(word, env) for word in [*(own or entrypoint), *given]]


def service_links(pod: Object, stored: Stored) -> dict[str, str]:
    """Return the variables that tell of the namespace's Services: programs may take them for settings."""
    if not pod["spec"].get("enableServiceLinks", True):
        return {}
    env: dict[str, str] = {}
    for service in (stored.get("services", pod["metadata"]["namespace"]) or {}).get("items", ()):
        address = service["spec"].get("clusterIP", "None")
        if address != "None" and service["spec"].get("ports"):
            env.update(_links(service["metadata"]["name"], address, service["spec"]["ports"]))
    return env


def _links(service: str, address: str, ports: Sequence[Object]) -> dict[str, str]:
    name = service.upper().replace("-", "_")
    first = ports[0]
    url = f"{first['protocol'].lower()}://{address}:{first['port']}"
    env = {f"{name}_SERVICE_HOST": address, f"{name}_SERVICE_PORT": str(first["port"]), f"{name}_PORT": url}
    for port in ports:
        stem = f"{name}_PORT_{port['port']}_{port['protocol']}"
        env.update({f"{stem}_ADDR": address, f"{stem}_PORT": str(port["port"])})
        if "name" in port:
            env[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    return env


def _whole(source: Object, pod: Object, stored: Stored) -> dict[str, str]:
    kind, reference = (
        ("configmaps", source["configMapRef"])
        if "configMapRef" in source
        else ("secrets", source["secretRef"])
    )
    found = stored.get(kind, pod["metadata"]["namespace"], reference["name"])
    if found is None:
        if reference.get("optional"):
            return {}
        raise NotConfigured(f'{kind[:-1]} "{reference["name"]}" not found')
    return {source.get("prefix", "") + key: value.decode() for key, value in contents(found).items()}


def _from(source: Object, container: Object, pod: Object, stored: Stored) -> str | None:
    match source:
        case {"secretKeyRef": reference}:
            return _key("secrets", reference, pod, stored)
        case {"configMapKeyRef": reference}:
            return _key("configmaps", reference, pod, stored)
        case {"fieldRef": {"fieldPath": path}}:
            return pod_field(pod, path)
        case {"resourceFieldRef": reference}:
            return resource(container, reference)
    raise NotHonoured(f"valueFrom: {', '.join(source)}")


def _key(kind: str, reference: Object, pod: Object, stored: Stored) -> str | None:
    namespace, name, key = pod["metadata"]["namespace"], reference["name"], reference["key"]
    found = stored.get(kind, namespace, name)
    if found is not None and key in (values := contents(found)):
        return values[key].decode()
    if reference.get("optional"):
        return None
    word = {"secrets": "secret", "configmaps": "configmap"}[kind]
    if found is None:
        raise NotConfigured(f'{word} "{name}" not found')
    raise NotConfigured(f"couldn't find key {key} in {word.capitalize()} {namespace}/{name}")


def contents(stored: Object) -> dict[str, bytes]:
    """Return what a ConfigMap or a Secret holds, key by key."""
    data, more = stored.get("data") or {}, stored.get("binaryData") or {}
    if stored.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in data.items()}
    plain = {key: value.encode() for key, value in data.items()}
    return plain | {key: base64.b64decode(value) for key, value in more.items()}


def pod_field(pod: Object, path: str) -> str:
    """Return what the downward API tells of a pod.

    Raises:
        NotHonoured: it is asked for something else.
    """
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if keyed := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(metadata.get(keyed[1], {}).get(keyed[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        pairs = metadata.get(path.partition(".")[2], {})
        return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
    known = {
        **{f"metadata.{name}": metadata.get(name, "") for name in ("name", "namespace", "uid")},
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        **{f"status.{name}": status.get(name, "") for name in ("podIP", "hostIP")},
    }
    if path not in known:
        raise NotHonoured(f"fieldRef: {path}")
    return str(known[path])


def resource(container: Object, reference: Object) -> str:
    """Return a request or limit in whole units of its divisor, rounded up."""
    kind, _, name = reference["resource"].partition(".")
    found = container.get("resources", {}).get(kind, {}).get(name)
    amount = _CAPACITY[name] if found is None else quantity(found)
    divisor = quantity(str(reference.get("divisor", "1"))) or Decimal(1)
    return str(-int(-amount // divisor))


def quantity(text: str) -> Decimal:
    """Return a quantity as a number: `192Mi`, `50m`."""
    found = _QUANTITY.match(str(text))
    if found is None or found[2] not in _SUFFIXES:
        raise NotHonoured(f"quantity: {text}")
    return Decimal(found[1]) * _SUFFIXES[found[2]]

"""What is put into pods, as the chart renders it: `injection.json`, read strictly and once.

One template, three injectors: the chart makes a MutatingAdmissionPolicy of it, the webhook and `authz inject`
read it here. What it says is the same for all, so nothing unknown is skipped: a program that left out a part
would make other pods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import msgspec

from authz.injection.tree import Json, Object, is_ours, objects, quoted, text
from authz.injection.variables import Variable, each_text, pattern_of, uses_in
from authz.model.errors import ConfigError

VERSION = 1
MAX_BYTES = 1024 * 1024  # a ConfigMap holds no more

# Source: Kubernetes, "Labels and Selectors": an optional DNS name, `/`, and at most 63 characters.
_KEY = re.compile(
    r"(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-\w.]{0,61}[A-Za-z0-9])?", re.ASCII
)
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_NO_NUMBERS = ("x", "-", "-1", "+1", "1.5", "1e3", "0x1", " 1", "1 ", "1_0")
_VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9]{0,31}")

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class _Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    annotation: _Text
    message: _Text
    default: str = ""
    pattern: _Text | None = None
    choices: dict[str, str] = {}


class _Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    init_containers: list[dict[str, Any]] = []
    containers: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    image_pull_secrets: list[dict[str, Any]] = []


class _Pod(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    spec: _Spec
    metadata: _Metadata = _Metadata()


class _Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    target_port: _Text
    annotation: _Text


class _Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    label: _Text
    variables: dict[str, _Variable]
    pod: _Pod
    service: _Service | None = None
    exact: bool = True


class ServiceRule(NamedTuple):
    """How a Service is led to the sidecar.

    Args:
        target_port: the name of the port that becomes its target.
        annotation: by which a Service of several ports says which one.
    """

    target_port: str
    annotation: str


@dataclass(frozen=True, slots=True)
class Template:
    """What a pod gets, and how it asks for it.

    Args:
        label: of pods and Services that ask for it, with the value `true`.
        variables: what pods may choose, in the order in which they are judged.
        annotations, labels: put on the pod; texts may use variables.
        init_containers, containers, volumes, pull_secrets: appended to the pod's own, in this order.
        service: how Services are led to it; None where they stay, since a mesh catches what is sent.
        exact: a sidecar that stands in a pod already must be this one; else one of its names will do, while
            manifests into which another version put it are replaced.
    """

    label: str
    variables: tuple[Variable, ...]
    annotations: Object
    labels: Object
    init_containers: tuple[Object, ...]
    containers: tuple[Object, ...]
    volumes: tuple[Object, ...]
    pull_secrets: tuple[Object, ...]
    service: ServiceRule | None
    exact: bool

    @classmethod
    def parse(cls, content: bytes, file: str = "injection.json") -> Template:
        """Read a template.

        Args:
            content: JSON, as the chart renders it.
            file: its name, for errors.

        Raises:
            ConfigError: it cannot be used; where in it, what is wrong, what to do.
        """
        try:
            return _checked(_read(content))
        except ValueError as fault:
            raise ConfigError(f"{file}: {fault}") from None


def _read(content: bytes) -> _Written:
    if len(content) > MAX_BYTES:
        raise ValueError(f"{len(content)} bytes, the limit is {MAX_BYTES}: it is no template of ours")
    try:
        written = msgspec.json.decode(content, type=_Written)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_lower(str(error))}: render it with the chart of this version") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(
            "holds no template: name the chart's ConfigMap, or the `injection.json` in it"
        ) from None
    if written.version != VERSION:
        raise ValueError(
            f"version {written.version} is not known here: use the program and the chart of one version"
        )
    return written


def _lower(told: str) -> str:
    return told[:1].lower() + told[1:]


def _checked(written: _Written) -> Template:
    spec, metadata = written.pod.spec, written.pod.metadata
    template = Template(
        label=_key(written.label, "label"),
        variables=tuple(_variable(name, each) for name, each in written.variables.items()),
        annotations=dict(metadata.annotations),
        labels=dict(metadata.labels),
        init_containers=tuple(spec.init_containers),
        containers=tuple(spec.containers),
        volumes=tuple(spec.volumes),
        pull_secrets=tuple(spec.image_pull_secrets),
        service=_service(written.service),
        exact=written.exact,
    )
    _check_keys(template)
    _check_names(template)
    _check_uses(template)
    _check_port(template)
    return template


def _key(written: str, where: str) -> str:
    if not _KEY.fullmatch(written):
        raise ValueError(f"`{where}` is {quoted(written)}: write a name such as `sidecar.authz/inject`")
    return written


def _variable(name: str, written: _Variable) -> Variable:
    where = f"variables.{name}"
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"`variables` names {quoted(name)}: use letters and digits")
    if written.pattern is None and not written.choices:
        raise ValueError(f"`{where}` has neither `pattern` nor `choices`: write what it may be")
    try:
        pattern = None if written.pattern is None else pattern_of(written.pattern)
    except ValueError as fault:
        raise ValueError(f"`{where}.pattern` {fault}") from None
    annotation = _key(written.annotation, f"{where}.annotation")
    return Variable(name, annotation, written.default, pattern, written.choices, written.message)


def _service(written: _Service | None) -> ServiceRule | None:
    if written is None:
        return None
    return ServiceRule(written.target_port, _key(written.annotation, "service.annotation"))


def _check_keys(template: Template) -> None:
    for part, where in ((template.annotations, "annotations"), (template.labels, "labels")):
        for key in part:
            _key(key, f"pod.metadata.{where}")
    if template.label in template.labels:
        raise ValueError("`pod.metadata.labels` sets the label that asks for it: remove it")


def _check_names(template: Template) -> None:
    containers = (*template.init_containers, *template.containers)
    if not containers:
        raise ValueError("`pod.spec` has no containers: write what is put into pods")
    for items, what in ((containers, "container"), (template.volumes, "volume")):
        found: set[str] = set()
        for item in items:
            name = item.get("name")
            if not isinstance(name, str) or not _NAME.fullmatch(name) or name in found:
                raise ValueError(f"`pod.spec` has a {what} named {quoted(name)}: each has a name of its own")
            if not is_ours(name):
                raise ValueError(f"`pod.spec` has a {what} named {quoted(name)}: call it `authz-{name}`")
            found.add(name)


def _check_uses(template: Template) -> None:
    known = {variable.name: variable for variable in template.variables}

    def look(written: str, where: str) -> None:
        for use in uses_in(written, where):
            if use.name not in known:
                raise ValueError(f"`{where}` uses `{use.name}`, which `variables` does not have: add it")
            if use.number and not _always_a_number(known[use.name]):
                raise ValueError(
                    f"`{where}` makes a number of `{use.name}`, which may be a text: mend its pattern"
                )

    metadata: Json = {"annotations": template.annotations, "labels": template.labels}
    spec: Json = {
        "initContainers": list(template.init_containers),
        "containers": list(template.containers),
        "volumes": list(template.volumes),
        "imagePullSecrets": list(template.pull_secrets),
    }
    each_text({"metadata": metadata, "spec": spec}, "pod", look)


def _always_a_number(variable: Variable) -> bool:
    """Tell whether a number can be made of whatever a pod may say; of a pattern, by what it must not take."""
    if variable.choices:
        return all(word.isascii() and word.isdigit() for word in variable.choices.values())
    return not any(map(variable.value, _NO_NUMBERS))


def _check_port(template: Template) -> None:
    if template.service is None:
        return
    containers = (*template.init_containers, *template.containers)
    ports = {text(port.get("name")) for each in containers for port in objects(each.get("ports"))}
    if (target := template.service.target_port) not in ports:
        raise ValueError(f"`service.targetPort` is {quoted(target)}, which is no container's: name a port")

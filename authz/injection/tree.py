"""Plain data, as JSON has it: looked into without believing that anything in it has the shape it should.

Pods come from an API server, which has judged their shape, and from files, which nobody has judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from authz.model.text import visible


@dataclass(frozen=True, slots=True)
class Word:
    """An unquoted word of YAML that readers take for different things (`no`, `010`), or a number spelt so.

    Kept as it was written, so that whoever reads it next sees what stood there; never a text. Pods that an
    API server sends hold none.
    """

    spelt: str

    def __str__(self) -> str:
        return self.spelt


Json: TypeAlias = "bool | int | float | str | Word | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

_SHOWN = 80  # characters of what somebody else wrote; more of it explains nothing


class TurnedAway(NamedTuple):
    """Something that asks for the sidecar and cannot have it as it stands.

    Args:
        why: one sentence: where, what is wrong, what to do.
    """

    why: str


def is_ours(name: str) -> bool:
    """Tell whether a name of a container, volume or port belongs to the sidecar."""
    return name == "authz" or name.startswith("authz-")


def quoted(value: Json) -> str:
    """Return what others wrote, for an error: short, in one line, in backticks."""
    shown = visible(_told(value)[: _SHOWN + 1]).replace("`", "'")
    return f"`{shown[:_SHOWN]}...`" if len(shown) > _SHOWN else f"`{shown}`"


def _told(value: Json) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case dict():
            return "{...}"
        case list():
            return "[...]"
    return str(value)


def mapping(value: Json) -> Mapping[str, Json]:
    """Return a mapping, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: Json) -> Sequence[Object]:
    """Return the mappings of a list; of anything else none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: Json) -> str:
    """Return a text, or "" for anything else."""
    return value if isinstance(value, str) else ""


def names(value: Json) -> Iterator[str]:
    """Yield the `name` of each mapping of a list."""
    for each in objects(value):
        if name := text(each.get("name")):
            yield name


def misshapen(pod: Json) -> str:
    """Return why something is no pod or pod template that could be changed; "" where it is one.

    Only as deep as we change or read it: the rest is the API server's to judge.
    """
    if not isinstance(pod, dict):
        return "it is no mapping: write a pod"
    for part in ("metadata", "spec"):
        if not isinstance(pod.get(part), dict | None):
            return f"`{part}` is no mapping: write one"
    for part in ("labels", "annotations"):
        if not isinstance(mapping(pod.get("metadata")).get(part), dict | None):
            return f"`metadata.{part}` is no mapping: write one"
    for part in ("initContainers", "containers", "ephemeralContainers", "volumes", "imagePullSecrets"):
        if fault := _misshapen_list(mapping(pod.get("spec")).get(part), f"spec.{part}"):
            return fault
    return ""


def _misshapen_list(value: Json, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, list):
        return f"`{where}` is no list: write one"
    if not all(isinstance(each, dict) for each in value):
        return f"`{where}` holds what is no mapping: write its fields"
    return ""

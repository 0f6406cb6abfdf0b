"""Plain data, as JSON has it: looked into without believing that anything in it has the shape it should.

Pods come from an API server, which has judged their shape, and from files, which nobody has judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from authz.model.text import visible

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

_SHOWN = 80  # characters of what somebody else wrote; more of it explains nothing


class TurnedAway(NamedTuple):
    """Something that asks for the sidecar and cannot have it as it stands.

    Args:
        why: one sentence: where, what is wrong, what to do.
    """

    why: str


def quoted(value: object) -> str:
    """Return what others wrote, for an error: short, in one line, in backticks."""
    text = visible(str(value)).replace("`", "'")
    return f"`{text[:_SHOWN]}...`" if len(text) > _SHOWN else f"`{text}`"


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
        if not isinstance(pod.get(part) or {}, dict):
            return f"`{part}` is no mapping: write one"
    for part in ("labels", "annotations"):
        if not isinstance(mapping(pod.get("metadata")).get(part) or {}, dict):
            return f"`metadata.{part}` is no mapping: write one"
    for part in ("initContainers", "containers", "ephemeralContainers", "volumes", "imagePullSecrets"):
        if fault := _misshapen_list(mapping(pod.get("spec")).get(part), f"spec.{part}"):
            return fault
    return ""


def _misshapen_list(value: Json, where: str) -> str:
    if not isinstance(value or [], list):
        return f"`{where}` is no list: write one"
    if len(objects(value or [])) != len(value or []):
        return f"`{where}` holds what is no mapping: write its fields"
    return ""

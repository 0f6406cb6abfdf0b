"""values.yaml as rows: each value's place, its default, and the words that stand above or beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

Plain = str | int | bool | list["Plain"] | dict[str, "Plain"]

# Maps that people fill with names of their own: one row each, and no further.
OPEN = (
    "sidecar.settings",
    "policies.sets",
    "webhook.nodeSelector",
    "watch.nodeSelector",
    "service.nodeSelector",
    "service.affinity",
    "gateway.contextExtensions",
    "monitoring.podMonitor.labels",
    "monitoring.rules.labels",
    "monitoring.dashboards.labels",
    "monitoring.dashboards.annotations",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One value: `place` with dots, what it is without being set, and what it means."""

    place: str
    default: Plain
    meaning: str


def rows(text: str) -> list[Row]:
    """Return the values of values.yaml in its order. A map that is no OPEN one has none of its own."""
    top = yaml.compose(text, Loader=yaml.SafeLoader)
    lines = text.splitlines()
    return list(_below(top, "", lines)) if isinstance(top, yaml.MappingNode) else []


def _below(node: yaml.MappingNode, before: str, lines: list[str]) -> Iterator[Row]:
    for key, value in node.value:
        place = f"{before}{key.value}"
        if isinstance(value, yaml.MappingNode) and not _whole(place):
            yield from _below(value, f"{place}.", lines)
        else:
            yield Row(place, _plain(value), _words(lines, key.start_mark.line))


def _whole(place: str) -> bool:
    return place in OPEN or place.endswith(".resources")


def _plain(node: yaml.Node) -> Plain:
    made: Plain = yaml.safe_load(yaml.serialize(node))
    return made


def _words(lines: list[str], at: int) -> str:
    """Return the comment beside a key, else that above it."""
    _, beside, words = lines[at].partition("   # ")
    if beside:
        return words
    above: list[str] = []
    while at and lines[at - 1].lstrip().startswith("# "):
        at -= 1
        above.insert(0, lines[at].lstrip().removeprefix("# "))
    return " ".join(above)

"""A difference of two policy sets, written for people, for machines and for a pull request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from authz.cli.colour import coloured
from authz.rehearsal.comparing.difference import Difference
from authz.rehearsal.comparing.direction import Effect
from authz.rehearsal.comparing.words import Change

_MARKS = {Effect.WIDER: "+", Effect.NARROWER: "-", Effect.EITHER: "~", Effect.NONE: " "}
_COLOURS = {Effect.WIDER: "green", Effect.NARROWER: "red", Effect.EITHER: "yellow"}
_SAID = {
    Effect.WIDER: "access is wider",
    Effect.NARROWER: "access is narrower",
    Effect.EITHER: "access changes",
    Effect.NONE: "no change of access",
}
_LEGEND = {
    Effect.WIDER: "wider",
    Effect.NARROWER: "narrower",
    Effect.EITHER: "either, it cannot be told",
    Effect.NONE: "no effect on access",
}
_COMMENT_MAX = 60_000  # characters; GitHub takes 65,536 of a comment


def headline(found: Difference) -> str:
    """Say in one line what the difference amounts to."""
    old, new = found.old_revision, found.new_revision
    revisions = f"revision {old}, as before" if old == new else f"revision {old} -> {new}"
    return f"{_SAID[found.effect]}, {revisions}"


def as_text(found: Difference) -> str:
    """Write a difference for a terminal."""
    lines: list[str] = []
    for (kind, name), changes in _grouped(found.changes):
        lines.append(f"{kind} {name}")
        lines += [f"  {_marked(change)} {_line(change)}" for change in changes]
    used = {change.effect for change in found.changes}
    legend = [f"{_MARKS[effect]} {words}" for effect, words in _LEGEND.items() if effect in used]
    if legend:
        lines += ["", f"({'; '.join(one.strip() for one in legend)})"]
    return "\n".join([*lines, headline(found)])


def _marked(change: Change) -> str:
    mark = _MARKS[change.effect]
    return coloured(mark, _COLOURS[change.effect]) if change.effect in _COLOURS else mark


def _line(change: Change) -> str:
    return f"{change.rule}: {change.what}" if change.rule else change.what


def as_json(found: Difference) -> str:
    """Write a difference for machines."""
    told: dict[str, Any] = {
        "old_revision": found.old_revision,
        "new_revision": found.new_revision,
        "same_access": found.same_access,
        "effect": found.effect.value,
        "changes": [_row(change) for change in found.changes],
    }
    return json.dumps(told, ensure_ascii=False)


def _row(change: Change) -> dict[str, str]:
    rule = {"rule": change.rule} if change.rule else {}
    return {
        "kind": change.kind,
        "name": change.name,
        **rule,
        "what": change.what,
        "effect": change.effect.value,
    }


def as_markdown(found: Difference) -> str:
    """Write a difference as a comment of a pull request.

    SECURITY: what authors wrote stands in code spans, or is a name or a pattern whose marks are escaped, so
    that it forms no link, image, mention or heading in the comment.
    """
    lines = [f"### Policies: {headline(found)}"]
    for (kind, name), changes in _grouped(found.changes):
        lines += ["", f"**{kind} `{name}`**"]
        lines += [f"- {_sign(change.effect)}{_markdown(change)}" for change in changes]
    text = "\n".join(lines)
    if len(text) <= _COMMENT_MAX:
        return text
    cut = text[:_COMMENT_MAX].rpartition("\n")[0]
    return f"{cut}\n\n**There is more: run `authz policy diff` to read all of it.**"


def _sign(effect: Effect) -> str:
    return f"**{effect.value}**: " if effect is not Effect.NONE else ""


def _markdown(change: Change) -> str:
    parts = _line(change).split("`")
    # Odd parts stand in backticks already.
    return "`".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    escaped = "".join(f"\\{each}" if each in "\\*_{}[]()<>#+!|~$" else each for each in text)
    return escaped.replace("@", "@\u200b").replace("://", ":\u200b//")


def _grouped(changes: Sequence[Change]) -> Iterator[tuple[tuple[str, str], list[Change]]]:
    for key, group in groupby(changes, key=lambda change: (change.kind, change.name)):
        yield key, list(group)

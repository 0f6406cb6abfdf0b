"""The requests that a page of documentation shows, and the answers that it promises."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export ([A-Z]+)=(\S+)$", re.MULTILINE)
_GETS = re.compile(r"# the application gets (?:no ([a-z-]+)|([a-z-]+): (.*))")
_VALUED = ("-X", "-H", "--cacert", "--cert", "--key")


@dataclass(frozen=True)
class Asked:
    """One `curl` of a page, and what the page says comes of it.

    Args:
        headers: of the answer; "..." is any value.
        gets: headers that the application gets; "" is none.
    """

    command: str
    method: str
    target: str
    sent: tuple[tuple[str, str], ...]
    cert: str
    status: int
    headers: Mapping[str, str]
    gets: Mapping[str, str]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return [match[2] for match in _FENCE.finditer(page.read_text(encoding="utf-8")) if match[1] == language]


def variables(page: Path) -> dict[str, str]:
    """Return what a page exports in its shell blocks."""
    return dict(_EXPORT.findall("\n".join(blocks(page, "sh"))))


def conversations(page: Path) -> list[list[Asked]]:
    """Return the requests of each console block of a page."""
    known = variables(page)
    return [[_asked(part, known) for part in _parts(block)] for block in blocks(page, "console")]


def _parts(block: str) -> Iterator[list[str]]:
    for part in block.strip().split("\n\n"):
        yield part.splitlines()


def _asked(lines: list[str], known: Mapping[str, str]) -> Asked:
    command = re.sub(r"\$([A-Z]+)", lambda found: known[found[1]], lines[0].removeprefix("$ "))
    words = shlex.split(command)
    assert words[:2] == ["curl", "-i"], lines[0]
    options: dict[str, list[str]] = {name: [] for name in _VALUED}
    rest = iter(words[2:])
    targets = []
    for word in rest:
        if word in _VALUED:
            options[word].append(next(rest))
        else:
            targets.append(word)
    (url,) = map(urlsplit, targets)
    gets = [found for line in lines[2:] if (found := _GETS.fullmatch(line))]
    told = [line.partition(": ") for line in lines[2:] if not line.startswith("#")]
    assert len(gets) + len(told) == len(lines) - 2, lines
    return Asked(
        lines[0],
        (options["-X"] or ["GET"])[0],
        url.path + (f"?{url.query}" if url.query else ""),
        tuple((name, value) for name, _, value in (header.partition(": ") for header in options["-H"])),
        "".join(options["--cert"]),
        int(lines[1].split()[1]),
        {name: value for name, _, value in told},
        {found[1] or found[2]: found[3] or "" for found in gets},
    )

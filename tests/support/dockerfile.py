"""A Dockerfile read, and what of the project a build of it is given: enough of both for ours, and no more."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its word in capitals, and the rest of its line, continued lines joined."""

    word: str
    rest: str

    @property
    def flags(self) -> Mapping[str, str]:
        """The options before the arguments: `--from=build`."""
        flags = (text[2:] for text in self.rest.split() if text.startswith("--"))
        return (
            dict(text.partition("=")[::2] for text in flags) if self.word in ("COPY", "HEALTHCHECK") else {}
        )

    @property
    def words(self) -> list[str]:
        """The arguments, of an exec form as well."""
        text = self.rest
        while text.startswith("--"):
            text = text.partition(" ")[2].lstrip()
        return list(json.loads(text)) if text.startswith("[") else shlex.split(text)

    @property
    def pairs(self) -> dict[str, str]:
        """What ENV, LABEL and ARG set."""
        return dict(word.partition("=")[::2] for word in self.words)


@dataclass(frozen=True, slots=True)
class Stage:
    """From one FROM to the next."""

    base: str
    name: str
    instructions: tuple[Instruction, ...]

    def of(self, word: str) -> list[Instruction]:
        """Return its instructions of one kind."""
        return [one for one in self.instructions if one.word == word]


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The whole: what stands before the first FROM, and the stages."""

    arguments: Mapping[str, str]
    stages: tuple[Stage, ...]

    @property
    def instructions(self) -> Iterator[Instruction]:
        """Every instruction of every stage."""
        for stage in self.stages:
            yield from stage.instructions


def read(file: Path) -> Dockerfile:
    """Read a Dockerfile."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, list[Instruction]]] = []
    for one in _instructions(file.read_text()):
        if one.word == "FROM":
            base, *named = one.words
            stages.append((expanded(base, arguments), named[1] if named else "", []))
        elif stages:
            stages[-1][2].append(one)
        else:
            arguments |= one.pairs
    return Dockerfile(arguments, tuple(Stage(base, name, tuple(ins)) for base, name, ins in stages))


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        yield Instruction(word.upper(), rest.strip())


def expanded(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into a text, as Docker does; an unknown one is nothing."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), text)


def context(root: Path, files: Sequence[str]) -> list[str]:
    """Return which of the files a build is given: those that .dockerignore does not leave out."""
    lines = (root / ".dockerignore").read_text().splitlines()
    patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    rules = [(not line.startswith("!"), _pattern(line.removeprefix("!"))) for line in patterns]
    return [file for file in files if not _left_out(file, rules)]


def _left_out(file: str, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    """The last rule that fits the file, or a directory above it, decides. Source: moby/patternmatcher."""
    parts = file.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    fitting = [out for out, pattern in rules if any(map(pattern.fullmatch, above))]
    return bool(fitting) and fitting[-1]


def _pattern(text: str) -> re.Pattern[str]:
    """`**/` is any number of directories, `*` anything within a name."""
    words = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*|\?)", text)
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))

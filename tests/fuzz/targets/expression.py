"""Conditions built from bytes by a grammar: nearly all of them compile, so the evaluation is what is tried.

Each byte chooses what comes next; where the input ends, the shortest thing follows. So every input is an
expression, a longer one is a larger expression, and coverage-guided changes are small changes of it.
"""

from __future__ import annotations

from collections.abc import Callable

from authz.policy.vocabulary import VOCABULARY, CelType
from tests.fuzz.target import Target
from tests.fuzz.targets.cel import evaluate

_MAX_DEPTH = 12


def _named(kind: CelType) -> list[str]:
    return [name for name, variable in VOCABULARY.items() if variable.type is kind]


class _Writer:
    """Writes one expression."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._locals: list[str] = []
        self._depth = 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def _one(self, *ways: Callable[[], str]) -> str:
        """Follow one of some ways; the first is the shortest, and is taken where it is deep enough."""
        chosen = 0 if self._depth >= _MAX_DEPTH else self._byte() % len(ways)
        self._depth += 1
        written = ways[chosen]()
        self._depth -= 1
        return written

    def _pick(self, *words: str) -> str:
        return words[self._byte() % len(words)]

    def truth(self) -> str:
        """Write something true or false."""
        return self._one(
            lambda: self._pick("true", "false", "identity.anonymous"),
            lambda: f"({self.text()} {self._pick('==', '!=', '<', '>=')} {self.text()})",
            lambda: f"({self.number()} {self._pick('==', '!=', '<', '>=')} {self.number()})",
            lambda: f"({self.truth()} {self._pick('&&', '||', '==')} {self.truth()})",
            lambda: f"!{self.truth()}",
            lambda: f"({self.truth()} ? {self.truth()} : {self.truth()})",
            lambda: f"({self.text()} in {self.texts()})",
            lambda: f"({self.text()} in {self.mapping()})",
            lambda: f"{self.text()}.{self._pick('startsWith', 'endsWith', 'contains')}({self.text()})",
            lambda: f"{self.text()}.matches({self._pattern()})",
            lambda: self._loop(self._pick("exists", "all", "exists_one"), self.truth),
            lambda: f"{self.mapping()}[?{self.text()}].hasValue()",
            lambda: f"(request.time {self._pick('<', '>')} timestamp({self.text()}))",
        )

    def text(self) -> str:
        """Write a text."""
        names = [*_named(CelType.STRING), *self._locals]
        return self._one(
            lambda: self._pick('"a"', '""', *(f'"{word}"' for word in ("x-list", "id", "gold", "*", "é"))),
            lambda: self._pick(*names),
            lambda: f"{self.mapping()}[{self.text()}]",
            lambda: f'{self.mapping()}[?{self.text()}].orValue("")',
            lambda: f"({self.text()} + {self.text()})",
            lambda: f"string({self.number()})",
            lambda: f"{self.texts()}[{self.number()}]",
            lambda: f"{self.text()}.{self._pick('lowerAscii', 'upperAscii', 'trim')}()",
            lambda: f"{self.text()}.substring({self.number()})",
            lambda: f"{self.text()}.replace({self.text()}, {self.text()})",
            lambda: f'{self.texts()}.join("{self._pick(",", "", "-" * 16)}")',
            lambda: f"({self.truth()} ? {self.text()} : {self.text()})",
        )

    def number(self) -> str:
        """Write a whole number."""
        return self._one(
            lambda: self._pick("0", "1", "-1", "9223372036854775807", "100"),
            lambda: f"size({self.text()})",
            lambda: f"size({self.texts()})",
            lambda: f"size({self.mapping()})",
            lambda: self._pick(*_named(CelType.INT)),
            lambda: f"({self.number()} {self._pick('+', '-', '*', '/', '%')} {self.number()})",
            lambda: f"int({self.text()})",
            lambda: f"{self.text()}.indexOf({self.text()})",
        )

    def texts(self) -> str:
        """Write a list of texts."""
        return self._one(
            lambda: self._pick("[]", '["a", "b"]', *_named(CelType.TEXTS)),
            lambda: f"{self._pick(*_named(CelType.TEXTS_MAP))}[?{self.text()}].orValue([])",
            lambda: f"{self.text()}.split({self._pick(chr(34) + ',' + chr(34), self.text())})",
            lambda: self._loop("filter", self.truth),
            lambda: self._loop("map", self.text),
            lambda: f"({self.texts()} + {self.texts()})",
            lambda: f"[{self.text()}, {self.text()}]",
        )

    def mapping(self) -> str:
        """Write a map of texts."""
        return self._pick(*_named(CelType.TEXT_MAP))

    def _pattern(self) -> str:
        return self._pick('"a+"', '"(a|b|ab)*c"', '"^(x+x+)+y$"', '".{1,999}"', '"["', self.text())

    def _loop(self, macro: str, step: Callable[[], str]) -> str:
        over = self._one(
            lambda: self.texts(), lambda: self.mapping(), lambda: self._pick(*_named(CelType.TEXTS_MAP))
        )
        name = f"v{len(self._locals)}"
        self._locals.append(name)
        written = f"{over}.{macro}({name}, {step()})"
        self._locals.pop()
        return written


def write(data: bytes) -> str:
    """Return the expression that an input stands for."""
    return _Writer(data).truth()


def run(data: bytes) -> None:
    """Evaluate what the input stands for."""
    source = write(data)
    if len(source) <= 4096:
        evaluate(source)


TARGET = Target(run, 128)

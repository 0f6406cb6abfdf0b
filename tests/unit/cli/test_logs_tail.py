"""What comes is followed, whatever happens to where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from authz.cli.logs_asked import Output
from authz.cli.logs_print import Printer
from authz.cli.logs_tail import Follower, last
from authz.history.line import Chunk, Flaw, Found, Place
from authz.history.question import Question
from authz.history.scan import Scan
from authz.history.source import Item, Note
from authz.model.errors import ConfigError
from tests.support.lines import decision, denied

HERE = Place("f", 1)


class Shown(Printer):
    """A printer that remembers."""

    def __init__(self) -> None:
        super().__init__(Output.JSON)
        self.lines: list[bytes] = []
        self.notes: list[str] = []
        self.readers = 5  # looks until whoever reads is gone

    def show(self, found: Sequence[Found]) -> None:
        self.lines += [one.line + b"\n" for one in found]

    def note(self, text: str) -> None:
        self.notes.append(text)

    def is_alone(self) -> bool:
        self.readers -= 1
        return self.readers < 0


class Scripted:
    """A source that does as it is told."""

    total = done = 0

    def __init__(self, *looks: list[Item] | ConfigError, name: str = "f", back: bool = False) -> None:
        self.name, self._looks, self._back = name, list(looks), back

    def read(self) -> Iterator[Item]:
        yield from self._next()

    def read_back(self) -> Iterator[Item] | None:
        return iter(self._next()[::-1]) if self._back else None

    def cannot_follow(self) -> str:
        return ""

    def poll(self, wait_s: float) -> list[Item]:
        assert 0 < wait_s <= 0.5
        return self._next()

    def close(self) -> None:
        pass

    def _next(self) -> list[Item]:
        look = self._looks.pop(0) if self._looks else []
        if isinstance(look, ConfigError):
            raise look
        return look


def chunk(*lines: bytes) -> Chunk:
    return Chunk(b"".join(lines), HERE)


def follow(*sources: Scripted, question: Question | None = None) -> tuple[Shown, list[float]]:
    printer, waited = Shown(), list[float]()
    Follower(sources, Scan(question or Question()), printer, waited.append).run()
    return printer, waited


def test_what_comes_is_filtered_and_shown_once() -> None:
    printer, _ = follow(
        Scripted([chunk(denied(1), decision(2))], [], [Note("rotated"), chunk(denied(1), denied(3))]),
        question=Question(outcome="deny"),
    )
    assert (printer.lines, printer.notes) == ([denied(1), denied(3)], ["rotated"])


def test_a_source_that_goes_away_is_asked_again_and_said_so_once() -> None:
    away = ConfigError("nobody answers")
    printer, waited = follow(Scripted([chunk(decision(1))], away, away, [chunk(decision(2))]))
    assert printer.lines == [decision(1), decision(2)]
    assert printer.notes == ["nobody answers; it is asked again until it answers", "f answers again"]
    assert waited == [1.0, 1.0]


def test_one_that_is_away_holds_up_no_other() -> None:
    printer, _ = follow(
        Scripted(ConfigError("gone"), ConfigError("gone"), name="g"), Scripted([chunk(decision(1))])
    )
    assert printer.lines == [decision(1)]


def test_lines_that_cannot_be_read_are_told_as_they_come() -> None:
    printer, _ = follow(
        Scripted([chunk(b"x\n", b"y\n")], [Flaw(Place("f", 9), "it is odd")], [chunk(decision(1))])
    )
    assert printer.notes == [
        "f, line 2: a line cannot be read: it is no JSON",
        "f, line 9: a line cannot be read: it is odd",
    ]


def test_the_last_ones_are_the_last_whichever_way_they_are_read() -> None:
    items: list[Item] = [chunk(decision(1), decision(2)), Note("n"), chunk(decision(3))]
    for back in (True, False):
        printer = Shown()
        found = last([Scripted(items, back=back)], Scan(Question()), printer, 2)
        assert [one.line + b"\n" for one in found] == [decision(2), decision(3)]

from __future__ import annotations

import pytest

from authz.limits.inquiry import COUNT_MAX, Answer, Answers, Inquiry, Row, Shelved, encode
from authz.limits.redis.keys import Keys
from authz.lookout import in_sidecar
from authz.lookout.in_sidecar import InSidecar
from authz.lookout.selection import Selection, Target
from authz.model.limit import Store
from tests.support.buckets import FIRST, census

KEYS = Keys("default")
EVERYBODY = census()


class Sidecar:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self, *rows: Row, silent: tuple[int, ...] = ()) -> None:
        self.asked: list[Inquiry] = []
        self.filled: list[Inquiry] = []
        shelf = Shelved("memory", 2, len(rows), [*rows])
        self.answers = Answers([Answer("r", 0, [shelf]), Answer("s", 1, [], limits_off=True)], [*silent])

    def ask(self, inquiry: Inquiry) -> Answers:
        self.asked.append(inquiry)
        return self.answers

    def fill(self, inquiry: Inquiry) -> Answers:
        self.filled.append(inquiry)
        return self.answers

    def open(self) -> InSidecar:
        return InSidecar(self.ask, self.fill, KEYS)


def row(*name: str | None, debt: float = 1.0, of: tuple[str, ...] = ()) -> Row:
    return Row([*name], KEYS.digest(of or tuple(part or "" for part in name)), debt, 7)


def targets(limit: str, key: str = "first") -> list[Target]:
    return [target for target in Selection(EVERYBODY, limit).of_key(key) if not target.in_shadow]


def test_each_row_is_a_bucket_of_a_worker_and_what_else_was_said_is_kept() -> None:
    sidecar = Sidecar(row("per-key", "example", FIRST.id), silent=(2,))
    inside = sidecar.open()
    (found,) = inside.fullest("per-key", 5)
    assert (found.name, found.debt, found.elapsed_us) == (("per-key", "example", FIRST.id), 1.0, 7)
    assert (found.store, found.worker, found.processes) == (Store.MEMORY, 0, 2)
    assert sidecar.asked == [Inquiry(limit="per-key", count=5)]
    told = inside.told
    assert (told.revisions, told.silent, told.limits_off, told.cut) == ({"r", "s"}, {2}, True, False)


def test_a_bucket_belongs_to_the_target_of_its_name_or_of_the_pattern_that_it_fits() -> None:
    wanted = [*targets("per-key"), *targets("per-method")]
    sidecar = Sidecar(
        row("per-key", None, None, of=("per-key", "example", FIRST.id)),  # told by its digest alone
        row("per-method", "example", "acme", "GET"),
        row("per-method", "example", "globex", "GET"),  # not asked for
        row("per-key"),
    )
    matches = sidecar.open().find(wanted)
    assert [(match.target.limit.name, match.theirs) for match in matches] == [
        ("per-key", True),
        ("per-method", True),
        ("per-key", False),
    ]
    assert sidecar.asked[0].buckets == [
        ["per-key", "example", FIRST.id],
        ["per-key"],
        ["per-method", "example", "acme", None],
        ["per-method"],
    ]


def test_a_sidecar_of_another_keyspace_is_understood_all_the_same() -> None:
    other = Row(["per-key", "example", FIRST.id], Keys("other").digest(("per-key",)), 1.0, 0)
    (match,) = Sidecar(other).open().find(targets("per-key"))
    assert match.target.limit.name == "per-key"


def test_what_is_filled_up_is_named_as_it_was_asked_for_each_once() -> None:
    sidecar = Sidecar(
        row("per-method", "example", "acme", "GET"), row("per-method", "example", "acme", "PUT")
    )
    inside = sidecar.open()
    matches = inside.find(targets("per-method"))
    assert inside.reset(matches, targets("per-key")) == 2
    assert sidecar.filled == [
        Inquiry(
            buckets=[["per-method", "example", "acme", None], ["per-key", "example", FIRST.id]],
            count=COUNT_MAX,
        )
    ]


def test_many_buckets_are_asked_for_in_several_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_sidecar, "QUESTION_MAX_BYTES", 100)
    sidecar = Sidecar()
    wanted = [*targets("per-key"), *targets("per-customer"), *targets("all"), *targets("per-key", "second")]
    sidecar.open().find(wanted)
    names = [tuple(name) for inquiry in sidecar.asked for name in inquiry.buckets]
    assert len(sidecar.asked) > 1
    assert len(names) == len(set(names)) == 7
    assert all(len(encode(inquiry.buckets)) <= 102 for inquiry in sidecar.asked)


def test_more_than_one_answer_holds_is_told() -> None:
    inside = Sidecar(*[row("per-key", "example", str(number)) for number in range(COUNT_MAX)]).open()
    inside.fullest("", COUNT_MAX)
    assert inside.told.cut

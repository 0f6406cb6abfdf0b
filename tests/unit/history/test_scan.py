"""Searches: what comes out, and what is counted."""

from __future__ import annotations

from authz.history.line import Chunk, Flaw, Kind, Place
from authz.history.question import Question
from authz.history.scan import Scan
from tests.support.lines import decision, denied, event, gap

HERE = Place("f", 1)


def lines(scan: Scan, *data: bytes) -> list[bytes]:
    return [one.line + b"\n" for one in scan.take(Chunk(b"".join(data), HERE))]


def test_what_fits_comes_out_as_it_stands_in_its_order() -> None:
    scan = Scan(Question(outcome="deny"))
    assert lines(scan, decision(1), denied(2), decision(3), denied(4)) == [denied(2), denied(4)]
    assert (scan.tally.lines, scan.tally.matched) == (4, 2)


def test_gaps_are_counted_with_what_they_count() -> None:
    scan = Scan(Question(customer="nobody"))
    assert lines(scan, decision(1), gap(2, 40, 37), event(41)) == [gap(2, 40, 37)]
    assert (scan.tally.matched, scan.tally.gaps, scan.tally.missing) == (0, 1, 37)


def test_what_was_delivered_twice_is_shown_once() -> None:
    data = (
        decision(1),
        gap(2, 3, 2),
        event(4),
        decision(1),
        gap(2, 3, 2),
        event(4),
        gap(2, 3, 1).replace(b"queue", b"spool"),
    )
    scan = Scan(Question())
    assert len(lines(scan, *data)) == 4
    assert scan.tally.repeated == 3
    assert scan.tally.missing == 3
    assert len(lines(Scan(Question(), duplicates=True), *data)) == 7


def test_memory_of_what_was_shown_is_bounded() -> None:
    scan = Scan(Question(), remembered=2)
    assert len(lines(scan, decision(1), decision(2), decision(3), decision(3), decision(1))) == 4
    assert len(scan._shown) == 2


def test_decisions_without_ids_are_all_shown_of_one_stream() -> None:
    bare = b'{"v":1,"outcome":"deny","stream":"s","seq":%d}\n'
    assert len(lines(Scan(Question()), bare % 1, bare % 2, bare % 1)) == 2


def test_unreadable_lines_are_counted_and_the_first_has_its_place() -> None:
    scan = Scan(Question())
    data = (decision(1), b"\n", b"garbage\n", denied(2), b'{"v":7}\n')
    assert lines(scan, *data) == [decision(1), denied(2)]
    assert (scan.tally.lines, scan.tally.unreadable) == (2, 2)
    assert scan.tally.first_flaw is not None
    assert str(scan.tally.first_flaw.place) == "f, line 3"
    assert scan.tally.last_flaw is not None
    assert "version 7" in scan.tally.last_flaw.what


def test_of_a_file_read_from_its_end_the_place_is_a_byte() -> None:
    scan = Scan(Question())
    scan.take(Chunk(decision(1) + b"garbage\n", Place("f", byte=1000)))
    assert scan.tally.first_flaw is not None
    assert scan.tally.first_flaw.place.byte == 1000 + len(decision(1))


def test_a_version_that_we_do_not_know_is_found_among_lines_that_do_not_fit() -> None:
    scan = Scan(Question(outcome="deny"))
    assert lines(scan, decision(1), decision(2).replace(b'"v":1', b'"v":2')) == []
    assert (scan.tally.lines, scan.tally.unreadable) == (1, 1)


def test_what_stands_behind_the_beginning_of_a_torn_line_is_found() -> None:
    scan = Scan(Question())
    assert lines(scan, decision(1), decision(2)[:100] + decision(3), decision(4)[:50] + b"\n") == [
        decision(1),
        decision(3),
    ]
    assert scan.tally.unreadable == 2


def test_lines_that_others_wrote_anew_are_read_all_the_same() -> None:
    spaced = decision(1).replace(b'":', b'": ')
    assert lines(Scan(Question(customer="acme")), spaced) == [spaced]
    crlf = decision(1).replace(b"\n", b"\r\n")
    assert lines(Scan(Question(customer="acme")), crlf) == [crlf]


def test_two_records_on_a_line_and_an_empty_one_are_not_mistaken() -> None:
    scan = Scan(Question(outcome="deny"))
    data = decision(1).rstrip() + decision(2) + b"\n" + denied(3)
    assert lines(scan, data) == [denied(3)]


def test_a_flaw_of_the_source_is_counted() -> None:
    scan = Scan(Question())
    assert scan.take(Flaw(HERE, "it is damaged", 0)) == []
    assert scan.tally.unreadable == 0
    assert scan.tally.first_flaw is not None


def test_kinds_that_are_asked_for() -> None:
    scan = Scan(Question(kinds=frozenset({Kind.GAP})))
    assert lines(scan, decision(1), gap(2, 2, 1), event(3)) == [gap(2, 2, 1)]

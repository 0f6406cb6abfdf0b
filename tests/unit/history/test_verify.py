from __future__ import annotations

import pytest

from authz.history import verify as verifying
from authz.history.finding import Fault
from authz.history.line import Chunk, Flaw, Place
from authz.history.verify import Verifier, verify
from authz.record.chain import Chain
from authz.record.notice import Why, event_line, gap_line
from tests.support.chains import (
    KEY,
    LATER,
    OTHER_KEY,
    SIDECAR,
    STREAM,
    chained,
    decision,
    decisions,
    look,
    told,
)


def gap(first: int, last: int, count: int, why: Why = Why.QUEUE_FULL) -> bytes:
    return gap_line(SIDECAR, STREAM, first, last, count, why, 0)


# --- numbers, chained or not


def test_records_that_are_all_there_are_sound_without_a_chain() -> None:
    event = event_line("set_loaded", SIDECAR, STREAM, 4, "r", {}, 0)
    report = look([*decisions(1, 3), event, gap(5, 9, 5), *decisions(10, 11)], keys=())
    assert report.sound
    assert not report.chained
    assert (report.records, report.events, report.gaps, report.lines) == (5, 1, 1, 7)
    assert report.declared == {"queue_full": 5}
    assert (report.streams[0].first_seq, report.streams[0].last_seq) == (1, 11)


def test_a_number_that_no_gap_declares_is_a_hole() -> None:
    report = look([*decisions(1, 3), *decisions(7, 9)], keys=())
    assert told(report) == [("hole", 4)]
    assert "numbers 4 to 6" in report.findings[0].text
    assert report.undeclared == 3


@pytest.mark.parametrize("before", [True, False])
def test_a_gap_that_thinned_a_block_may_stand_before_its_lines_or_after(before: bool) -> None:
    kept = [decision(5), decision(8), decision(11)]
    thinned = gap(4, 13, 7, Why.SPOOL_FULL)
    lines = [thinned, *kept] if before else [*kept, thinned]
    report = look([*decisions(1, 3), *lines, *decisions(14, 15)], keys=())
    assert report.sound, report.findings


def test_a_block_that_lost_some_twice_has_two_gaps() -> None:
    report = look(
        [decision(1), gap(2, 6, 2), gap(2, 11, 6, Why.SPOOL_FULL), decision(4), decision(9), decision(12)]
    )
    assert report.declared == {"queue_full": 2, "spool_full": 6}
    assert report.undeclared == 0


def test_of_more_missing_than_declared_the_rest_is_a_hole() -> None:
    report = look([decision(1), gap(2, 11, 7), decision(5), decision(12)], keys=())
    assert told(report) == [("hole", 2)]
    assert report.undeclared == 2


def test_a_killed_process_may_declare_more_than_there_were() -> None:
    assert look([*decisions(1, 2), gap(3, 9, 7, Why.KILLED)], keys=()).sound


def test_two_records_with_one_number_are_a_fault_and_a_repeat_is_none() -> None:
    again = look([*decisions(1, 5), *decisions(2, 4), *decisions(6, 6)], keys=())
    assert (again.sound, again.repeats, again.records) == (True, 3, 6)
    other = look([*decisions(1, 5), decision(3, text="x")], keys=())
    assert told(other) == [("inserted", 6)]


def test_files_in_the_wrong_order_still_add_up() -> None:
    assert look([*decisions(6, 9), *decisions(1, 5), *decisions(10, 11)], keys=()).sound


def test_ranges_that_stand_open_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("authz.history.numbering.OPEN_MAX", 10)
    lines = [line for seq in range(1, 400, 4) for line in (decision(seq), gap(seq + 1, seq + 3, 3))]
    assert look(lines, keys=()).sound
    del lines[100:102]
    report = look([line for line in lines if b'"gap"' not in line], keys=())
    assert report.undeclared == 3 * 98 + 4


def test_numbers_that_nobody_can_mean_do_no_harm() -> None:
    absurd = gap(9, 3, 5), gap(1, 1 << 62, -5), decision(1 << 60), gap(0, 1 << 61, 1 << 62)
    assert look(absurd, keys=()).lines == 4


# --- what is no record


def test_lines_without_a_stream_are_counted_and_prove_nothing() -> None:
    report = look(
        [b'{"v":1,"outcome":"allow"}', b'{"a":"b"}', b'{"v":1,"stream":"%b","seq":1}' % (b"x" * 65)], keys=()
    )
    assert (report.sound, report.foreign, report.streams) == (True, 3, ())


@pytest.mark.parametrize(
    "line", [b"hello", b'{"x', b'{"seq":"1"}', b"[1]", b'{"v":1}{"v":1}', b"\xff" * 9, b"[" * 5000]
)
def test_a_line_that_is_no_record_is_a_fault(line: bytes) -> None:
    assert told(look([*decisions(1, 2), line, decision(3)], keys=())) == [("unreadable", 3)]


def test_what_a_source_cannot_read_is_a_fault() -> None:
    verifier = Verifier()
    verifier.take(Flaw(Place("f", 7), "it is torn off"))
    (found,) = verifier.report().findings
    assert (found.fault, found.place) == (Fault.CUT, "f, line 7")


def test_more_streams_than_are_followed_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "STREAMS_MAX", 2)
    report = look([decision(1, stream=f"{number:016x}") for number in range(4)], keys=())
    assert (len(report.streams), report.foreign) == (2, 2)
    assert "more than 2 streams" in report.notes[0]


# --- chains


def test_a_whole_chain_is_whole() -> None:
    report = look(chained(decisions(1, 2500)))
    assert report.sound
    (stream,) = report.streams
    assert (stream.checkpoints, stream.signed_seq, stream.unsigned) == (4, 2500, 0)
    assert (stream.begun, stream.ended, stream.chained) == (True, True, True)


def test_an_altered_record_is_named_itself() -> None:
    lines = chained(decisions(1, 9))
    lines[5] = lines[5].replace(b"deny", b"Deny")
    report = look(lines)
    assert told(report) == [("altered", 6)]
    assert report.findings[0].seq == 5


def test_removed_records_are_named_once_by_the_line_that_follows() -> None:
    lines = chained(decisions(1, 9))
    del lines[4:7]
    report = look(lines)
    assert told(report) == [("removed", 5)]
    assert (report.findings[0].seq, report.undeclared) == (4, 3)


@pytest.mark.parametrize(("start", "end", "to"), [(4, 5, 6), (4, 7, 9), (2, 4, 8)])
def test_records_that_were_moved_are_one_fault(start: int, end: int, to: int) -> None:
    lines = chained(decisions(1, 15))
    moved = [*lines[:start], *lines[end:to], *lines[start:end], *lines[to:]]
    report = look(moved)
    assert [one.fault for one in report.findings] == [Fault.REORDERED]
    assert told(report)[0][1] in range(start, to + 1)


@pytest.mark.parametrize("before", [True, False])
def test_a_forged_record_beside_a_genuine_one_is_the_one_that_is_named(before: bool) -> None:
    lines = chained(decisions(1, 9))
    forged = lines[5].replace(b"deny", b"Deny")
    lines.insert(5 if before else 6, forged)
    report = look(lines)
    assert told(report) == [("inserted", 6 if before else 7)]


def test_a_chain_that_was_forged_anew_is_found_at_its_checkpoint() -> None:
    genuine = chained(decisions(1, 9))
    forger = Chain(KEY, SIDECAR, STREAM)
    forged = forger.link(b"".join([*decisions(1, 4), decision(5, text="x"), *decisions(6, 9)])).splitlines()
    report = look([*forged, genuine[-1]])
    assert told(report) == [("altered", 10)]


def test_after_the_last_checkpoint_lines_are_counted_and_prove_nothing() -> None:
    lines = chained(decisions(1, 9))[:-1]
    report = look(lines)
    (stream,) = report.streams
    assert report.sound
    assert (stream.unsigned, stream.signed_seq, stream.ended) == (9, 0, False)


def test_nothing_may_follow_the_end() -> None:
    chain = Chain(KEY, SIDECAR, STREAM)
    lines = (chain.link(b"".join(decisions(1, 3))) + chain.end()).splitlines()
    lines += chain.link(decision(4)).splitlines()
    assert told(look(lines)) == [("inserted", 6)]


def test_a_line_without_a_link_in_a_chain_is_found() -> None:
    lines = chained(decisions(1, 5))
    lines.insert(3, decision(9)[:-1])
    assert ("unchained", 4) in told(look(lines))


def test_with_a_key_a_stream_that_is_not_chained_is_a_fault() -> None:
    assert told(look(decisions(1, 5))) == [("unchained", 1)]


def test_a_stream_that_was_chained_from_some_line_on_is_noted() -> None:
    chain = Chain(KEY, SIDECAR, STREAM)
    lines = chain.link(b"".join(decisions(4, 6))) + chain.end()
    report = look([*decisions(1, 3), *lines.splitlines()])
    assert report.sound
    assert "3 of its lines are not chained" in report.notes[0]
    headless = look([*decisions(1, 3), *lines.splitlines()[1:]])
    assert ("unchained", 1) in told(headless)


def test_another_key_vouches_for_nothing() -> None:
    lines = chained(decisions(1, 3))
    report = look(lines, [OTHER_KEY.public])
    assert told(report) == [("signature", 1), ("signature", 5)]
    assert report.streams[0].unsigned == 3
    assert look(lines, [OTHER_KEY.public, KEY.public]).sound


def test_without_a_key_the_links_alone_are_followed() -> None:
    lines = chained(decisions(1, 9))
    report = look(lines, [])
    assert report.sound
    assert (report.checkpoints, report.streams[0].unsigned) == (0, 9)
    assert report.notes == ("no key was given: no signature was looked at",)
    del lines[3]
    assert told(look(lines, [])) == [("removed", 4)]


def test_what_was_shipped_twice_and_not_alike_is_genuine_where_both_are_signed() -> None:
    first = Chain(KEY, SIDECAR, STREAM)
    lines = first.link(b"".join(decisions(1, 4)))
    again = Chain(KEY, SIDECAR, STREAM, first.state)
    lines += first.link(b"".join([*decisions(5, 9), decision(10, 70)]))
    lines += again.link(gap(5, 10, 6, Why.SPOOL_FULL) + decision(11, 70)) + again.end()
    report = look(lines.splitlines())
    assert report.sound, report.findings
    assert any("shipped twice, not alike" in note for note in report.notes)


def test_a_chain_that_begins_anew_is_noted_and_what_no_checkpoint_signed_before_it_is_a_fault() -> None:
    first, second = Chain(KEY, SIDECAR, STREAM), Chain(KEY, SIDECAR, STREAM)
    lines = first.link(b"".join(decisions(1, 4))) + second.link(b"".join(decisions(5, 6))) + second.end()
    report = look(lines.splitlines())
    assert told(report) == [("inserted", 5)]
    assert "begins anew after number 4" in report.notes[0]
    assert "4 lines before stay unsigned" in report.notes[0]
    assert look(lines.splitlines(), keys=()).sound


def test_where_the_beginning_was_rotated_away_the_rest_is_sound() -> None:
    report = look(chained(decisions(1, 2500))[700:])
    assert report.sound
    assert not report.streams[0].begun


# --- streams


def lives() -> tuple[list[bytes], list[bytes]]:
    """Return two streams of one sidecar, the second linked to the first."""
    first = Chain(KEY, SIDECAR, STREAM)
    one = first.link(b"".join(decisions(1, 3))) + first.end()
    second = Chain(KEY, SIDECAR, LATER, after=first.tip)
    two = second.link(b"".join(decisions(1, 2, LATER))) + second.end()
    return one.splitlines(), two.splitlines()


def test_a_stream_names_the_one_before_it() -> None:
    one, two = lives()
    report = look([*one, *two])
    assert report.sound
    assert [(stream.after, stream.after_seen) for stream in report.streams] == [("", False), (STREAM, True)]


def test_a_stream_that_is_gone_is_noted() -> None:
    report = look(lives()[1])
    assert report.sound
    assert f"stream {STREAM} of `{SIDECAR}`, which came before {LATER}, is not here" in report.notes


def test_a_stream_that_lost_its_end_is_told_by_the_next_one() -> None:
    one, two = lives()
    report = look([*one[:-1], *two])
    assert told(report) == [("removed", 5)]
    assert report.findings[0].stream == STREAM


# --- the pass itself


def test_what_is_gone_between_two_streams_is_found_and_a_part_of_two_that_go_on_is_not() -> None:
    """A file that spans a restart was taken away; or the oldest ones were, of two that run side by side."""
    first = chained(decisions(1, 5))
    chain = Chain(KEY, SIDECAR, LATER)
    later = (chain.link(b"".join(decisions(1, 5, LATER))) + chain.end()).splitlines()
    (fault,) = look([*first[:4], *later[3:]]).findings
    assert (fault.fault, fault.stream, fault.place) == (Fault.REMOVED, LATER, "f, line 5")
    assert STREAM in fault.text
    assert LATER not in [one.stream for one in look([*first[2:4], *later[3:]]).findings]
    assert look([*first, *later[3:]]).sound  # that the second one begins in the middle is told of it
    assert look([*first[:4], *later]).sound


def test_memory_of_what_repeats_is_bounded() -> None:
    lines = chained(decisions(1, 400))
    verifier = Verifier([KEY.public], window=50)
    for at in range(0, len(lines), 10):
        verifier.take(Chunk(b"".join(line + b"\n" for line in lines[at : at + 10]), Place("f", at + 1)))
    verifier.take(Chunk(b"".join(line + b"\n" for line in lines[-40:]), Place("f", 403)))
    assert verifier.report().repeats == 40


def test_all_is_read_with_progress() -> None:
    heard = []
    chunks = [Chunk(line + b"\n", Place("f", at)) for at, line in enumerate(chained(decisions(1, 3)), 1)]
    assert verify(chunks, [KEY.public], lambda: heard.append(1)).sound
    assert len(heard) == 5


def test_findings_are_kept_up_to_a_bound_and_all_are_counted() -> None:
    report = look([b"x%d" % number for number in range(1500)])
    assert (report.faults, len(report.findings)) == (1500, 1000)

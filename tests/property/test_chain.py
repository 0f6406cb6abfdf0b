"""Whatever is done to chained records is found, and its place named; honest delivery never is."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from authz.history.finding import Report
from authz.record.chain import Chain
from authz.record.notice import Why, gap_line
from tests.support.chains import KEY, LATER, SIDECAR, STREAM, chained, decision, look, told


@st.composite
def streams(draw: st.DrawFn, most: int = 40) -> list[bytes]:
    """Draw the lines of one stream: decisions, and gaps for the numbers that are left out."""
    lines, seq, second = [], 1, 0
    for _ in range(draw(st.integers(1, most))):
        second += draw(st.sampled_from((0, 0, 1, 70)))
        if draw(st.integers(0, 7)) == 0:
            count = draw(st.integers(1, 9))
            lines.append(
                gap_line(SIDECAR, STREAM, seq, seq + count - 1, count, Why.QUEUE_FULL, second * 1_000_000)
            )
            seq += count
        else:
            lines.append(decision(seq, second, draw(st.text(max_size=5))))
            seq += 1
    return lines


def named(report: Report) -> set[int]:
    """Return the numbers of the lines that findings name."""
    return {line for _, line in told(report)}


@given(streams(), st.lists(st.integers(1, 7), min_size=1))
def test_the_same_lines_give_the_same_bytes_however_they_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    whole = Chain(KEY, SIDECAR, STREAM)
    linked = whole.link(b"".join(lines))
    state, parts, at = "", b"", 0
    while at < len(lines):
        size = cuts[at % len(cuts)]
        chain = Chain(KEY, SIDECAR, STREAM, state)
        parts += chain.link(b"".join(lines[at : at + size]))
        state, at = chain.state, at + size
    assert parts == linked
    assert Chain(KEY, SIDECAR, STREAM, state).end() == whole.end()


@given(streams())
def test_what_was_not_touched_is_sound(lines: list[bytes]) -> None:
    out = chained(lines)
    report = look(out)
    assert report.sound, report.findings
    assert report.chained
    assert report.undeclared == 0
    (stream,) = report.streams
    assert (stream.begun, stream.ended, stream.unsigned) == (True, True, 0)
    assert stream.checkpoints == report.checkpoints == sum(b'"kind":"checkpoint"' in line for line in out)
    assert report.records + report.gaps == len(lines)


@given(streams(), st.data())
def test_batches_that_come_twice_are_repeats(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    end = data.draw(st.integers(1, len(out)))
    start = data.draw(st.integers(0, end - 1))
    report = look([*out[:end], *out[start:end], *out[end:]])
    assert report.sound, report.findings
    assert report.repeats == end - start


@given(streams(), st.data())
def test_a_torn_line_that_then_comes_whole_is_no_fault(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    at = data.draw(st.integers(0, len(out) - 1))
    back = data.draw(st.integers(0, at))
    cut = data.draw(st.integers(1, len(out[at]) - 1))
    report = look([*out[:at], out[at][:cut], *out[back:]])
    assert report.sound, report.findings
    assert (report.torn, report.repeats) == (1, at - back)


@given(streams(), st.data())
@settings(max_examples=400)
def test_a_byte_that_was_flipped_is_found_where_it_stands(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    at = data.draw(st.integers(0, len(out) - 1))
    byte = data.draw(st.integers(0, len(out[at]) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda value: value != out[at][byte]))
    changed = out[at][:byte] + bytes([other]) + out[at][byte + 1 :]
    report = look(b"\n".join([*out[:at], changed, *out[at + 1 :]]).split(b"\n"))
    if report.sound:  # the last line is read as another kind: then the end is missing, and this one unsigned
        assert at == len(out) - 1
        assert not report.streams[0].ended
        return
    more = other == ord("\n")
    assert named(report) & {at + 1, at + 2, at + 2 + more}, report.findings


@given(streams(), st.data())
def test_lines_that_were_removed_are_found(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    start = data.draw(st.integers(0, len(out) - 1))
    end = data.draw(st.integers(start + 1, len(out)))
    left = [*out[:start], *out[end:]]
    report = look(left)
    if not left:
        assert report.streams == ()
        return
    (stream,) = report.streams
    if start == 0:  # the head: nothing here says what came before, and so the report does
        assert not stream.begun
    elif end == len(out):  # the tail: only a checkpoint says that this is all
        assert not stream.ended
    else:
        assert not report.sound
        assert named(report) & {start, start + 1}, report.findings


@given(streams(), st.data())
def test_lines_that_changed_places_are_found(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    one = data.draw(st.integers(0, len(out) - 2)) if len(out) > 1 else 0
    two = data.draw(st.integers(one + 1, len(out) - 1))
    out[one], out[two] = out[two], out[one]
    report = look(out)
    assert not report.sound
    assert named(report) & set(range(one + 1, two + 3)), report.findings


@given(streams(), st.data())
def test_a_copy_that_is_not_like_the_first_is_found(lines: list[bytes], data: st.DataObject) -> None:
    out = chained(lines)
    at = data.draw(st.integers(0, len(out) - 1))
    to = data.draw(st.integers(at, len(out) - 1))
    byte = data.draw(st.integers(0, len(out[at]) - 1))
    other = data.draw(st.integers(32, 126).filter(lambda value: value != out[at][byte]))
    copy = out[at][:byte] + bytes([other]) + out[at][byte + 1 :]
    report = look([*out[: to + 1], copy, *out[to + 1 :]])
    assert not report.sound or report.foreign
    assert report.foreign or named(report) & {to + 1, to + 2, to + 3}, report.findings


@given(streams(), st.data())
def test_a_file_that_was_cut_off_shows_that_its_end_is_missing(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"\n".join(chained(lines)) + b"\n"
    left = whole[: data.draw(st.integers(0, len(whole) - 2))]
    report = look(left.split(b"\n"))
    assert not report.sound or not any(stream.ended for stream in report.streams)


@given(streams(), streams())
def test_a_stream_that_lost_its_end_is_told_by_the_next_one(lines: list[bytes], more: list[bytes]) -> None:
    first = Chain(KEY, SIDECAR, STREAM)
    out = first.link(b"".join(lines)).splitlines()
    second = Chain(KEY, SIDECAR, LATER, after=first.tip)
    then = second.link(b"".join(line.replace(STREAM.encode(), LATER.encode()) for line in more)).splitlines()
    assert look([*out, *then]).sound
    assert not look([*out[:-1], *then]).sound or len(out) == 1
    alone = look(then)
    assert [stream.after for stream in alone.streams] == [STREAM]
    assert not alone.streams[0].after_seen
    assert any(STREAM in note for note in alone.notes)

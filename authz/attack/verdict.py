"""Who judges: from a case and what came back to whether it holds. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from authz.attack.aim import Aim
from authz.attack.case import (
    Answer,
    Ask,
    Broken,
    Case,
    Expect,
    Fields,
    Held,
    Input,
    Outcome,
    Severity,
    Skipped,
    Verdict,
)
from authz.attack.oracle import falls_under, plain_reading, protected_reading

# What differs between two answers to one question: ids, times, random tokens.
_CHANGING = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,}|\d+")
_TRANSIENT = frozenset({"date", "server", "x-request-id", "content-length", "age", "connection"})


def judge(case: Case, answers: Sequence[Answer], aim: Aim) -> Outcome:
    """Return whether a case holds."""
    match case.expect:
        case Expect.ANSWERED:
            return _explicit(case, answers)
        case Expect.UNPASSED:
            return _unpassed(answers)
        case Expect.AGREED:
            return _agreed(answers) or _explicit(case, answers)
        case Expect.AT_MOST:
            return _counted(case, answers)
        case Expect.REFUSED:
            return _refused(case, answers) or _explicit(case, answers)
        case Expect.ALIKE:
            return _refused(case, answers) or _alike(answers) or _explicit(case, answers)
        case Expect.SHIELDED:
            return _shielded(case, answers, aim) or _explicit(case, answers)
        case Expect.CLEAN:
            return _clean(case, answers) or _explicit(case, answers)


def _severity(case: Case) -> Severity:
    return Severity.HIGH if case.grave else Severity.LOW


def _refused(case: Case, answers: Sequence[Answer]) -> Broken | None:
    for answer in answers:
        if answer.verdict is Verdict.ALLOWED:
            return Broken(_severity(case), f"it was allowed ({answer.note or answer.status})")
    return None


def _explicit(case: Case, answers: Sequence[Answer]) -> Outcome:
    """Refusing by failing is no refusal: what comes of it is up to the caller's settings."""
    for answer in answers:
        if answer.verdict is Verdict.FAILED:
            return Broken(Severity.LOW, f"the answer is not explicit: {answer.note}")
        if answer.verdict is Verdict.SILENT:
            return Broken(Severity.LOW, f"there was no answer in time{_with(answer.note)}")
    return Held()


def _with(note: str) -> str:
    return f": {note}" if note else ""


def _unpassed(answers: Sequence[Answer]) -> Outcome:
    for answer in answers:
        if answer.verdict is Verdict.ALLOWED:
            return Broken(Severity.HIGH, f"it was allowed ({answer.note or answer.status})")
    return Held()


def _counted(case: Case, answers: Sequence[Answer]) -> Outcome:
    passed = sum(answer.verdict is Verdict.ALLOWED for answer in answers)
    if passed > case.most:
        return Broken(Severity.HIGH, f"{passed} of {len(answers)} passed where {case.most} may")
    return Held(f"{passed} of {len(answers)} passed")


def _agreed(answers: Sequence[Answer]) -> Broken | None:
    told = {(answer.verdict, answer.status) for answer in answers}
    if len(told) > 1:
        words = "; ".join(sorted(f"{verdict.value} ({status})" for verdict, status in told))
        allowed = any(verdict is Verdict.ALLOWED for verdict, _ in told)
        return Broken(Severity.HIGH if allowed else Severity.LOW, f"the decisions differ: {words}")
    return None


def _alike(answers: Sequence[Answer]) -> Broken | None:
    shapes = {shape(answer) for answer in answers}
    if len(shapes) <= 1:
        return None
    first, second = sorted(shapes, key=repr)[:2]
    place = next(at for at, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    what = ("status", "names of headers", "values of headers", "body")[place]
    return Broken(Severity.LOW, f"a caller can tell them apart: the {what} differ")


def shape(answer: Answer) -> tuple[int, tuple[str, ...], tuple[str, ...], bytes]:
    """Return what a caller can compare: status, headers and body, without ids and times."""
    kept = [pair for pair in answer.headers if pair[0] not in _TRANSIENT and pair[0][:8] != "x-envoy-"]
    names = tuple(sorted(name for name, _ in kept))
    values = tuple(sorted(_steady(value.encode("latin-1", "replace")).decode() for _, value in kept))
    return answer.status, names, values, _steady(answer.body)


def _steady(text: bytes) -> bytes:
    return _CHANGING.sub(b"#", text).decode("ascii", "replace").encode()


def _shielded(case: Case, answers: Sequence[Answer], aim: Aim) -> Outcome | None:
    doubts = [
        doubt
        for given, answer in zip(case.inputs, answers, strict=True)
        if answer.verdict is Verdict.ALLOWED and (doubt := _passed(case, given, answer, aim)) is not None
    ]
    return next((doubt for doubt in doubts if isinstance(doubt, Broken)), doubts[0] if doubts else None)


def _passed(case: Case, given: Input, answer: Answer, aim: Aim) -> Outcome | None:
    """Judge one request that was allowed, by what the upstream saw or else by what was sent."""
    prefix = _text(aim.protected)
    for seen in answer.seen:
        reading = protected_reading(_text(seen.path), prefix, windows=aim.windows)
        if reading is not None:
            what = f"the upstream got `{printable(seen.path)}`, which may be read as `{printable(reading)}`"
            return Broken(_severity(case), what)
    if answer.seen:
        return None
    sent = _target(given)
    reading = protected_reading(sent, prefix, windows=aim.windows)
    if reading is None:
        return None
    if falls_under(plain_reading(sent), prefix):
        what = f"it was allowed ({answer.note or answer.status}), and may be read as `{printable(reading)}`"
        return Broken(_severity(case), what)
    return Skipped(f"allowed ({answer.status}); only --echo can tell what the upstream got")


def _target(given: Input) -> str:
    if isinstance(given, Ask):
        return _text(given.path)
    if isinstance(given, Fields):
        return _text(next((value for name, value in given.pairs if name == b":path"), b""))
    return ""


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def printable(text: str | bytes) -> str:
    """Return a text on one line, with nothing in it that a terminal would obey."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    return raw.decode("latin-1").encode("unicode_escape").decode("ascii")


def _clean(case: Case, answers: Sequence[Answer]) -> Broken | None:
    for answer in answers:
        for seen in answer.seen:
            text = seen.everything()
            if any(mark in text for mark in case.forbidden):
                return Broken(_severity(case), "it reached the upstream")
            missing = [name for name in case.required if name not in dict(seen.headers)]
            if missing:
                return Broken(_severity(case), f"the upstream did not get `{printable(missing[0])}`")
    return None

"""What came of a run of PolicyTests, for people and for machines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from authz.policy.kind_test import TestCase
from authz.rehearsal.run import Result


def lines(results: Sequence[Result], directories: Sequence[str]) -> Iterator[str]:
    """Yield what people read of the cases that failed, each with the command that explains it.

    Args:
        directories: arguments of the run, for that command.
    """
    for result in results:
        if not result.passed:
            yield f"{result.place}: FAILED {title(result)}"
            yield from (f"    {difference}" for difference in result.differences)
            if result.got is not None:
                yield f"    decided by: {_decided_by(result)}"
            yield f"    each step: {explain_command(result.case, directories)}"


def summary(results: Sequence[Result]) -> str:
    """Say in a line how many passed."""
    failed = sum(not result.passed for result in results)
    documents = len({id(result.test) for result in results})
    told = f"{_count(len(results), 'case')} in {_count(documents, 'test')}"
    return f"{told}: {len(results) - failed} passed, {failed} failed"


def title(result: Result) -> str:
    """Name a case as `--filter` finds it: its document and its own name."""
    return f"{result.test.name}/{result.case.name}"


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return a run as data for machines."""
    failed = sum(not result.passed for result in results)
    return {
        "passed": len(results) - failed,
        "failed": failed,
        "cases": [_row(result) for result in results],
    }


def explain_command(case: TestCase, directories: Sequence[str]) -> str:
    """Return the command that shows each step of a case."""
    asked = case.request
    words = ["authz", "policy", "explain", *directories]
    words += ["--method", asked.method, "--host", asked.host, "--path", asked.path]
    for name, value in asked.headers.items():
        words += ["--header", f"{name}: {value}"]
    if case.credential is not None:
        words += ["--as", case.credential.key]
    return shlex.join(words)


def _decided_by(result: Result) -> str:
    rules = result.got.rules if result.got is not None else ()
    return ", ".join(f"{rule.policy}/{rule.rule}" for rule in rules) or "no rule"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _row(result: Result) -> dict[str, Any]:
    place, got = result.place, result.got
    row: dict[str, Any] = {
        "test": result.test.name,
        "case": result.case.name,
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "passed": result.passed,
        "took_us": result.took_us,
        "differences": [difference._asdict() for difference in result.differences],
    }
    if got is not None:
        row["got"] = {
            "outcome": got.outcome.value,
            "status": got.status,
            "reason": got.reason.value,
            **({"detail": got.detail.value} if got.detail else {}),
            "rules": [f"{rule.policy}/{rule.rule}" for rule in got.rules],
            "headers": dict(got.headers),
            "limits": list(got.limits),
        }
    return row

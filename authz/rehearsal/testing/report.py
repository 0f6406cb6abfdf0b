"""What came of a run of PolicyTests, for people and for machines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from authz.model.errors import PolicyError
from authz.model.reason import Reason
from authz.model.text import visible
from authz.policy.kind_test import TestCase, TestIdentity
from authz.policy.shape import written_names
from authz.rehearsal.testing.expect import Got
from authz.rehearsal.testing.run import Result


def lines(results: Sequence[Result], directories: Sequence[str], failed: str = "FAILED") -> Iterator[str]:
    """Yield what people read of the cases that failed, each with the command that explains it.

    Args:
        directories: arguments of the run, for that command.
        failed: the word that stands before the name of a case.
    """
    for result in results:
        if not result.passed:
            yield f"{result.place}: {failed} {title(result)}"
            yield from (f"    {visible(line)}" for line in explained(result, directories))


def explained(result: Result, directories: Sequence[str]) -> Iterator[str]:
    """Yield how a case came out otherwise, who decided, and how to see each step."""
    yield from map(str, result.differences)
    if result.got is not None:
        yield f"decided by: {_decided(result.got)}"
    yield f"each step: {explain_command(result, directories)}"


def _decided(got: Got) -> str:
    rules = ", ".join(f"{rule.policy}/{rule.rule}" for rule in got.rules) or "no rule"
    if got.reason is Reason.ALLOWED:
        return rules
    return f"{rules}: {got.reason.value}" + (f" ({got.detail.value})" if got.detail else "")


def summary(results: Sequence[Result]) -> str:
    """Say in a line how many passed."""
    failed = sum(not result.passed for result in results)
    documents = len({id(result.test) for result in results})
    told = f"{_count(len(results), 'case')} in {_count(documents, 'test')}"
    return f"{told}: {len(results) - failed} passed, {failed} failed"


def title(result: Result) -> str:
    """Name a case as `--filter` finds it: its document and its own name."""
    return f"{result.test.name}/{result.case.name}"


def explain_command(result: Result, directories: Sequence[str]) -> str:
    """Return the command that shows each step of a case."""
    case = result.case
    asked = case.request
    words = ["authz", "policy", "explain", *directories, *_told(case)]
    for name, value in asked.headers.items():
        words += ["--header", f"{name}: {value}"]
    if case.credential is not None:
        words += ["--as", case.credential.key]
    if case.identity is not None:
        words += ["--identity", _identity(case.identity)]
    words += ["--at", result.test.spec.now.isoformat().replace("+00:00", "Z")]
    return shlex.join(words)


def as_json(results: Sequence[Result], faults: Sequence[PolicyError]) -> dict[str, Any]:
    """Return a run as data for machines."""
    failed = sum(not result.passed for result in results)
    return {
        "valid": not faults,
        "errors": [_place(fault) | {"what": fault.what} for fault in faults],
        "passed": len(results) - failed,
        "failed": failed,
        "cases": [_row(result) for result in results],
    }


def _told(case: TestCase) -> Iterator[str]:
    """Yield the options for what a case says of its request and does not leave to defaults."""
    asked = case.request
    yield from ("--method", asked.method, "--host", asked.host, "--path", asked.path)
    given = {"scheme": asked.scheme if asked.scheme != "https" else None, "address": asked.address}
    given |= {"principal": asked.principal, "upgrade": asked.upgrade}
    for name, value in given.items():
        if value:
            yield from (f"--{name}", value)


def _identity(who: TestIdentity) -> str:
    """Write an identity as `--identity` takes it: what a case leaves out stays out."""
    said = {name: getattr(who, name) for name in written_names(TestIdentity)}
    return json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _place(fault: PolicyError) -> dict[str, Any]:
    return {"file": fault.place.file, "line": fault.place.line, "column": fault.place.column}


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

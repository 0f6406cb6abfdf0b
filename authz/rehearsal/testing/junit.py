"""What came of a run of PolicyTests as JUnit XML, which CI systems read.

There is no standard; this is what Jenkins, GitLab and GitHub's actions have in common. One suite for each
document, one test case for each case.
Source: the schema of Jenkins' xunit plugin; XML 1.0, section 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET  # only writes here: nothing is parsed

from authz.model.errors import PolicyError
from authz.rehearsal.testing.report import explained
from authz.rehearsal.testing.run import Result

_NAME = "authz policy test"
# What XML 1.0 has no way to say, not even escaped, or warns of: a terminal obeys it. Names and headers of
# documents may hold it.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Sequence[Result], faults: Sequence[PolicyError], directories: Sequence[str]) -> str:
    """Return a run as JUnit XML.

    Args:
        faults: why the set is invalid; then nothing was run.
        directories: see `report.lines`.
    """
    root = ET.Element("testsuites", {"name": _NAME})
    if faults:
        root.append(_invalid(faults))
    for _, of_test in groupby(results, key=lambda result: id(result.test)):
        root.append(_suite(list(of_test), directories))
    suites = list(root)
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.6f}")
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(results: Sequence[Result], directories: Sequence[str]) -> ET.Element:
    test = results[0].test
    suite = _counted(
        test.name,
        tests=len(results),
        failures=sum(not result.passed and not result.crashed for result in results),
        errors=sum(result.crashed for result in results),
        took_us=sum(result.took_us for result in results),
    )
    suite.set("file", _sayable(test.file))
    suite.extend(_case(result, directories) for result in results)
    return suite


def _case(result: Result, directories: Sequence[str]) -> ET.Element:
    place = result.place
    attributes = {
        "classname": result.test.name,
        "name": result.case.name,
        "file": place.file,
        "line": str(place.line),
        "time": _seconds(result.took_us),
    }
    case = ET.Element("testcase", {name: _sayable(text) for name, text in attributes.items()})
    if not result.passed:
        told = {"message": _sayable("; ".join(map(str, result.differences))), "type": "difference"}
        failure = ET.SubElement(case, "error" if result.crashed else "failure", told)
        failure.text = _sayable("\n".join(explained(result, directories)))
    return case


def _invalid(faults: Sequence[PolicyError]) -> ET.Element:
    suite = _counted("policy set", tests=1, failures=0, errors=1, took_us=0)
    case = ET.SubElement(suite, "testcase", {"classname": "policy set", "name": "is valid", "time": "0"})
    told = {"message": _sayable(str(faults[0])), "type": "invalid"}
    error = ET.SubElement(case, "error", told)
    error.text = _sayable("\n".join(map(str, faults)))
    return suite


def _counted(name: str, *, tests: int, failures: int, errors: int, took_us: int) -> ET.Element:
    counts = {"tests": tests, "failures": failures, "errors": errors, "skipped": 0}
    said = {count: str(number) for count, number in counts.items()}
    return ET.Element("testsuite", {"name": _sayable(name), **said, "time": _seconds(took_us)})


def _seconds(took_us: int) -> str:
    return f"{took_us / 1e6:.6f}"


def _sayable(text: str) -> str:
    return _UNSAYABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

from __future__ import annotations

from xml.etree import ElementTree as ET

from authz.model.errors import Place, PolicyError
from authz.rehearsal.testing.expect import Difference
from authz.rehearsal.testing.junit import junit
from authz.rehearsal.testing.run import Result
from tests.support.rehearsals import SET, asked, cases, results

PASSES = f"{asked()}, expect: {{outcome: deny}}"
FAILS = f"{asked()}, expect: {{outcome: allow, headers: {{x-a: 'a<b>&\"c'}}}}"


def parsed(found: list[Result], *faults: PolicyError) -> ET.Element:
    text = junit(found, faults, ["set"])
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites')
    return ET.fromstring(text.encode())


def counts(element: ET.Element) -> dict[str, str]:
    return {name: element.get(name, "") for name in ("tests", "failures", "errors")}


def test_each_document_is_a_suite_and_each_case_a_test_case() -> None:
    found = results(*SET, cases(PASSES, FAILS), cases(PASSES, name="z"))
    root = parsed([result._replace(took_us=1500) for result in found])
    assert counts(root) == {"tests": "3", "failures": "1", "errors": "0"}
    assert root.get("time") == "0.004500"
    one, other = root
    assert (one.get("name"), one.get("file"), one.get("time")) == ("t", "4.yaml", "0.003000")
    assert counts(one) == {"tests": "2", "failures": "1", "errors": "0"}
    assert [case.get("name") for case in other] == ["case 0"]
    case = one[0]
    assert (case.get("classname"), case.get("line"), case.get("time")) == ("t", "7", "0.001500")
    assert len(case) == 0


def test_a_failure_says_what_came_and_how_to_see_each_step() -> None:
    ((_, case),) = parsed(results(*SET, cases(PASSES, FAILS)))
    (failure,) = case
    assert failure.tag == "failure"
    assert failure.get("message") == (
        'outcome: expected allow, got deny; headers.x-a: expected `a<b>&"c`, got no such header'
    )
    text = (failure.text or "").splitlines()
    assert text[0] == "outcome: expected allow, got deny"
    assert text[-1].startswith("each step: authz policy explain set --method GET")


def test_a_crash_is_an_error_and_no_failure() -> None:
    (result,) = results(*SET, cases(PASSES))
    crash = (Difference("run", "an answer", "a crash"),)
    root = parsed([result._replace(got=None, differences=crash)])
    assert counts(root) == {"tests": "1", "failures": "0", "errors": "1"}
    assert root[0][0][0].tag == "error"


def test_an_invalid_set_is_one_error() -> None:
    root = parsed([], PolicyError(Place("a.yaml"), "is wrong"), PolicyError(Place("b.yaml"), "too"))
    assert counts(root) == {"tests": "1", "failures": "0", "errors": "1"}
    error = root[0][0][0]
    assert error.get("message") == "a.yaml:1:1: is wrong"
    assert error.text == "a.yaml:1:1: is wrong\nb.yaml:1:1: too"


def test_whatever_stands_in_a_document_the_report_is_xml() -> None:
    odd = '"case \\uFFFE \\uFFFF <&>\\" \\U0001F600"'
    value = '"\\x01\\x1b[31m\\u009b\\uFFFE ]]> \\n"'
    text = cases(f"{asked()}, expect: {{outcome: allow, headers: {{x-a: {value}}}}}").replace("case 0", odd)
    ((case,),) = parsed(results(*SET, text))
    assert case.get("name") == 'case \\ufffe \\uffff <&>" \U0001f600'
    assert "`\\u0001\\u001b[31m\\u009b\\ufffe ]]> \n`" in str(case[0].get("message"))


def test_no_case_is_a_report_all_the_same() -> None:
    assert counts(parsed([])) == {"tests": "0", "failures": "0", "errors": "0"}

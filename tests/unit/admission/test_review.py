"""One AdmissionReview: yes with a patch, yes, or no with a sentence; nothing that raises."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authz.admission import review as reviews
from authz.admission.review import FAILED, PATCHED, REFUSED, UNREADABLE, UNTOUCHED, review
from authz.injection.template import Template
from authz.injection.tree import mapping
from tests.support.admission import LABEL, TEMPLATE, pod, question, service

TEMPLATE_READ = Template.parse(TEMPLATE)


def _response(body: bytes) -> dict[str, Any]:
    told = json.loads(review(body, TEMPLATE_READ).reply)
    assert (told["apiVersion"], told["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    assert told["response"]["uid"] == "705ab4f5-6393-11e8-b7cc-42010a800002"
    response = told["response"]
    assert isinstance(response, dict)
    return response


def _patch(body: bytes) -> list[dict[str, Any]]:
    response = _response(body)
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")
    patch = json.loads(base64.b64decode(response["patch"]))
    assert isinstance(patch, list)
    return patch


def test_a_pod_that_asks_is_given_its_sidecar() -> None:
    text = json.dumps(_patch(question(pod(port="81"))))
    assert "--port=81" in text
    assert "authz-run" in text
    assert review(question(pod()), TEMPLATE_READ)[:2] == ("pod", PATCHED)


@pytest.mark.parametrize("label", ["", "false"])
def test_a_pod_that_does_not_ask_is_left_alone(label: str) -> None:
    body = question(pod(label=label))
    assert _response(body) == {"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": True}
    assert review(body, TEMPLATE_READ).outcome == UNTOUCHED


def test_a_pod_that_cannot_have_what_it_asks_for_is_told_why() -> None:
    response = _response(question(pod(port="eighty")))
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    assert "sidecar.authz/port" in response["status"]["message"]
    assert review(question(pod(port="eighty")), TEMPLATE_READ).outcome == REFUSED


@pytest.mark.parametrize("label", ["yes", "True", 1, True, None, ["true"]])
def test_a_label_that_only_looks_like_yes_is_refused(label: object) -> None:
    thing = pod()
    thing["metadata"]["labels"][LABEL] = label
    assert _response(question(thing))["allowed"] is False


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE"])
def test_a_service_that_asks_is_moved(operation: str) -> None:
    patch = _patch(question(service(), "Service", operation))
    assert "authz-http" in json.dumps(patch)


@pytest.mark.parametrize(
    ("kind", "operation"), [("Pod", "UPDATE"), ("Pod", "DELETE"), ("Service", "DELETE"), ("Job", "CREATE")]
)
def test_nothing_is_changed_that_is_not_being_made(kind: str, operation: str) -> None:
    assert review(question(pod(), kind, operation), TEMPLATE_READ).outcome == UNTOUCHED


@pytest.mark.parametrize("thing", [None, [], "pod", 3])
def test_a_question_without_its_pod_is_a_no(thing: object) -> None:
    assert _response(question(thing))["allowed"] is False
    assert review(question(thing), TEMPLATE_READ).outcome == REFUSED


def test_a_trial_run_is_answered_alike() -> None:
    assert _patch(question(pod(), dryRun=True)) == _patch(question(pod()))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        question(pod()).replace(b"admission.k8s.io/v1", b"admission.k8s.io/v1beta1"),
        question(pod()).replace(b"AdmissionReview", b"Pod"),
        question(pod()).replace(b"705ab4f5-6393-11e8-b7cc-42010a800002", b""),
        question(pod(), uid=3),
        question(pod(), uid="u" * 300),
        b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":[]}',
    ],
)
def test_what_is_no_question_gets_no_answer(body: bytes) -> None:
    assert review(body, TEMPLATE_READ) == ("other", UNREADABLE, b"", "")


def test_a_bug_of_ours_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reviews, "inject_pod", broken)
    done = review(question(pod()), TEMPLATE_READ)
    assert done.outcome == FAILED
    response = _response(question(pod()))
    assert response["allowed"] is False
    assert response["status"]["code"] == 500
    assert "ZeroDivisionError" in response["status"]["message"]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON, st.sampled_from(["metadata", "spec", "kind", "labels"]))
def test_a_pod_that_asks_never_comes_in_unchanged(anything: object, where: str) -> None:
    thing: dict[str, Any] = pod()
    if where == "labels":
        thing["metadata"]["annotations"] = anything
    else:
        thing[where] = anything
    done = review(question(thing), TEMPLATE_READ)
    asks = mapping(mapping(thing.get("metadata")).get("labels")).get(LABEL) == "true"
    assert done.outcome in (PATCHED, REFUSED, FAILED, UNREADABLE, *(() if asks else (UNTOUCHED,)))


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(body: bytes) -> None:
    assert review(body, TEMPLATE_READ).outcome == UNREADABLE

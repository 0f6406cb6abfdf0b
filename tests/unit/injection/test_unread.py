from __future__ import annotations

from typing import Any

import pytest

from authz.injection.unread import unread
from tests.support.injection import LABEL, pod, template


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"sidecar.authz/port": "1", "team": "items", "other.authz/prot": "1"}, []),
        (
            {"sidecar.authz/prot": "1"},
            ["nobody reads annotation `sidecar.authz/prot`: did you mean `sidecar.authz/port`?"],
        ),
        ({LABEL: "true"}, [f"`{LABEL}` is an annotation, which does nothing: make it a label of the pod"]),
    ],
)
def test_annotations_that_do_nothing_are_told(annotations: Any, said: list[str]) -> None:
    assert list(unread(pod(annotations), template())) == said


def test_what_looks_like_none_of_ours_is_told_which_there_are() -> None:
    (said,) = unread(pod({"sidecar.authz/zzz": ""}), template())
    assert said == (
        "nobody reads annotation `sidecar.authz/zzz`: after `sidecar.authz/` "
        "stands one of envoy-cpu, envoy-memory, hosts, listen-port, policies, port, status"
    )


@pytest.mark.parametrize("odd", [None, "", [], {"metadata": 1}, {"metadata": {"annotations": "x"}}])
def test_what_is_no_pod_says_nothing(odd: Any) -> None:
    assert list(unread(odd, template())) == []

from __future__ import annotations

from typing import Any

import pytest

from authz.injection.patch import json_patch
from authz.injection.pod import Injected, inject_pod
from authz.injection.service import Moved, move_service
from tests.support.injection import LABEL, pod, template
from tests.support.json_patch import patched


def test_a_pod_s_patch_adds_only_what_is_new() -> None:
    given = pod(volumes=[{"name": "work"}])
    outcome = inject_pod(given, template())
    assert isinstance(outcome, Injected)
    patch = json_patch(given, outcome.pod)
    assert [(each["op"], each["path"]) for each in patch] == [
        ("add", "/metadata/annotations/sidecar.authz~1status"),
        ("add", "/spec/volumes/-"),
        ("add", "/spec/initContainers"),
        ("add", "/spec/imagePullSecrets"),
    ]
    assert patched(given, patch) == outcome.pod


def test_a_service_s_patch_changes_one_port() -> None:
    ports: Any = [{"name": "a"}, {"name": "http", "targetPort": 80}]
    given: Any = {"metadata": {"labels": {LABEL: "true"}}, "spec": {"ports": ports}}
    outcome = move_service(given, template())
    assert isinstance(outcome, Moved)
    patch = json_patch(given, outcome.service)
    assert patch == [{"op": "replace", "path": "/spec/ports/1/targetPort", "value": "authz-http"}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": 1}, {"b~/c": 1}),
        ({"a": [1, 2]}, {"a": [1]}),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}, 4]}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": None}, {"a": {}}),
        ({"": {"": 1}}, {"": {"": 2}}),
        ([1], {"a": 1}),
    ],
)
def test_a_patch_makes_the_one_of_the_other(before: Any, after: Any) -> None:
    patch = json_patch(before, after)
    assert repr(patched(before, patch)) == repr(after)
    assert (patch == []) is (repr(before) == repr(after))

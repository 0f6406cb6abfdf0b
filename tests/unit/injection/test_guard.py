from __future__ import annotations

from typing import Any

import pytest

from authz.injection.guard import lacks_sidecar
from authz.injection.pod import Injected, inject_pod
from tests.support.injection import pod, template, written

TEMPLATE = template()


def injected() -> Any:
    outcome = inject_pod(pod(), TEMPLATE)
    assert isinstance(outcome, Injected)
    return outcome.pod


def test_a_pod_with_its_sidecar_lacks_nothing_whatever_its_version() -> None:
    made = injected()
    assert lacks_sidecar(made, TEMPLATE) == ""
    for each in made["spec"]["initContainers"]:
        each |= {"image": "older", "args": []}
    made["spec"]["volumes"] = []
    del made["spec"]["initContainers"][0]  # which ran and ended
    assert lacks_sidecar(made, TEMPLATE) == ""


def test_ordinary_containers_are_sidecars_too() -> None:
    part = written()["pod"]
    part["spec"]["containers"] = [
        {name: value for name, value in each.items() if name != "restartPolicy"}
        for each in part["spec"]["initContainers"][1:]
    ]
    del part["spec"]["initContainers"][1:]
    ordinary = template(pod=part)
    assert lacks_sidecar(injected(), ordinary) == ""
    outcome = inject_pod(pod(), ordinary)
    assert isinstance(outcome, Injected)
    assert lacks_sidecar(outcome.pod, TEMPLATE) == ""
    assert "without the container `authz`" in lacks_sidecar(pod(), ordinary)


def test_a_labelled_pod_without_it_is_told_what_it_lacks() -> None:
    assert lacks_sidecar(pod(), TEMPLATE) == (
        "it runs without the container `authz`: delete it, and have it created again"
    )
    made = injected()
    del made["spec"]["initContainers"][2]
    assert "`authz-envoy`" in lacks_sidecar(made, TEMPLATE)


def test_an_init_container_that_ends_is_no_sidecar() -> None:
    made = injected()
    del made["spec"]["initContainers"][1]["restartPolicy"]
    assert "`authz`" in lacks_sidecar(made, TEMPLATE)


def test_who_does_not_ask_lacks_nothing_and_an_odd_word_is_told() -> None:
    assert lacks_sidecar(pod(label="false"), TEMPLATE) == ""
    assert "says `yes`" in lacks_sidecar(pod(label="yes"), TEMPLATE)


@pytest.mark.parametrize("thing", [None, 1, [], {}, {"spec": 1}])
def test_anything_may_be_asked(thing: Any) -> None:
    assert lacks_sidecar(thing, TEMPLATE) == ""

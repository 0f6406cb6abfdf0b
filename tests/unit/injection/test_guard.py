from __future__ import annotations

from authz.injection.guard import required
from tests.support.injection import template, written


def test_what_runs_as_long_as_the_pod_is_required_and_what_ends_is_not() -> None:
    assert required(template()) == ("authz", "authz-envoy")


def test_ordinary_containers_are_sidecars_too() -> None:
    part = written()["pod"]
    part["spec"]["containers"] = [
        {name: value for name, value in each.items() if name != "restartPolicy"}
        for each in part["spec"]["initContainers"][1:]
    ]
    del part["spec"]["initContainers"][1:]
    assert required(template(pod=part)) == ("authz", "authz-envoy")

from __future__ import annotations

from typing import Any

import pytest

from authz.injection.service import Moved, Unmoved, move_service
from authz.injection.tree import TurnedAway
from tests.support.injection import LABEL, template

TEMPLATE = template()


def service(*ports: Any, word: Any = "true", said: Any = None) -> Any:
    annotations = {} if said is None else {"sidecar.authz/service-port": said}
    labels = {} if word is None else {LABEL: word}
    return {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"ports": [*ports], "type": "x"},
    }


def targets(outcome: Any) -> list[Any]:
    assert isinstance(outcome, Moved), outcome
    spec: Any = outcome.service["spec"]
    assert spec["type"] == "x"
    return [port.get("targetPort") for port in spec["ports"]]


def test_the_only_port_leads_to_envoy_whatever_its_name() -> None:
    given = service({"name": "web", "port": 80, "targetPort": 8080})
    assert targets(move_service(given, TEMPLATE)) == ["authz-http"]
    assert given["spec"]["ports"][0]["targetPort"] == 8080


def test_of_several_it_is_the_one_named_http_or_the_one_that_is_named() -> None:
    ports = ({"name": "http", "port": 80}, {"name": "b", "port": 81})
    assert targets(move_service(service(*ports), TEMPLATE)) == ["authz-http", None]
    assert targets(move_service(service(*ports, said="b"), TEMPLATE)) == [None, "authz-http"]


def test_what_leads_there_already_stays() -> None:
    assert move_service(service({"port": 80, "targetPort": "authz-http"}), TEMPLATE) == Unmoved(led=True)


def test_who_does_not_ask_stays_unless_it_selects_what_was_injected() -> None:
    assert move_service(service({"port": 80}, word=None), TEMPLATE) == Unmoved(led=False)
    assert targets(move_service(service({"port": 80}, word=None), TEMPLATE, selected=True)) == ["authz-http"]
    assert move_service(service({"port": 80}, word="false"), TEMPLATE, selected=True) == Unmoved(led=False)


def test_without_a_port_in_the_template_all_stay() -> None:
    assert move_service(service({"port": 80}), template(service=None)) == Unmoved(led=False)
    assert move_service("x", TEMPLATE) == Unmoved(led=False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (service({"port": 80}, word="yes"), "says `yes`"),
        (service(), "it has no `spec.ports`"),
        (service(1), "it has no `spec.ports`"),
        (service({"port": 80}, 1), "holds what is no mapping"),
        ({**service(), "spec": 1}, "it has no `spec.ports`"),
        (service({"name": "a"}, {"name": "b"}), "is not clear: name it `http`"),
        (service({"name": "http"}, {"name": "http"}), "is not clear"),
        (service({"name": "a"}, said="80"), "is not clear"),
        (service({"port": 80}, said="x"), "is not clear"),
        (
            service({"port": 80}, said=80),
            "annotation `sidecar.authz/service-port` is no text: put `80` in quotes",
        ),
        (service({"port": 53, "protocol": "UDP"}), "is not TCP: choose another"),
    ],
)
def test_where_nobody_can_tell_which_it_is_refused(given: Any, told: str) -> None:
    outcome = move_service(given, TEMPLATE)
    assert isinstance(outcome, TurnedAway)
    assert told in outcome.why

from __future__ import annotations

import json
from typing import Any

import pytest

from authz.injection.template import MAX_BYTES, Template
from authz.model.errors import ConfigError
from tests.support.injection import template, written


def refused(content: bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        Template.parse(content, "t.json")
    told = str(caught.value)
    assert told.startswith("t.json: ")
    assert "\n" not in told
    assert len(told) < 300
    return told.removeprefix("t.json: ")


def with_spec(**parts: Any) -> dict[str, Any]:
    spec = {"volumes": [], "initContainers": [], **parts}
    return written(pod={"spec": spec}, service=None)


def test_a_template_is_read_whole() -> None:
    read = template()
    assert [each["name"] for each in read.init_containers] == ["authz-init", "authz", "authz-envoy"]
    assert [each.name for each in read.variables] == ["port", "listenPort", "hosts", "policies"]
    assert read.service is not None
    assert read.service.target_port == "authz-http"
    assert template(service=None).service is None


def _deep(levels: int) -> bytes:
    mark = json.dumps(with_spec(containers=[{"name": "authz", "x": "here"}])).encode()
    return mark.replace(b'"here"', b"[" * levels + b"]" * levels)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "holds no template"),
        (b"\xff", "holds no template"),
        (_deep(100_000), "holds no template"),
        (_deep(40), "nested deeper than 32"),
        (b" " * (MAX_BYTES + 1), "the limit is 1048576"),
        (b"[]", "render it with the chart of this version"),
        (json.dumps(written(version=2)).encode(), "version 2 is not known here"),
        (json.dumps(written(variables=None)).encode(), "missing required field `variables`"),
        (json.dumps(written(extra=1)).encode(), "unknown field `extra`"),
        (
            json.dumps(written(pod={"spec": {"containers": [], "x": 1}})).encode(),
            "unknown field `x` - at `$.pod",
        ),
        (json.dumps(written(label="a b")).encode(), "`label` is `a b`"),
        (json.dumps(written(service={"targetPort": "http", "annotation": "a"})).encode(), "no container's"),
        (
            json.dumps(written(service={"targetPort": "authz-http", "annotation": "-"})).encode(),
            "service.annot",
        ),
        (json.dumps(with_spec()).encode(), "`pod.spec` has no containers"),
        (json.dumps(with_spec(containers=[{"image": "x"}])).encode(), "a container named `null`"),
        (json.dumps(with_spec(containers=[{"name": "x"}])).encode(), "call it `authz-x`"),
        (
            json.dumps(
                with_spec(containers=[{"name": "authz"}], initContainers=[{"name": "authz"}])
            ).encode(),
            "each has a name of its own",
        ),
        (
            json.dumps(with_spec(containers=[{"name": "authz"}], volumes=[{"name": "${port}"}])).encode(),
            "a volume named `${port}`",
        ),
        (
            json.dumps(
                written(pod={"metadata": {"labels": {"sidecar.authz/inject": "true"}}, "spec": {}})
            ).encode(),
            "sets the label that asks for it",
        ),
        (
            json.dumps(written(pod={"metadata": {"annotations": {"": "x"}}, "spec": {}})).encode(),
            "`pod.metadata.annotations` is ``",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(content: bytes, told: str) -> None:
    assert told in refused(content)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${unknown}", "`pod.spec.containers[0].args[0]` uses `unknown`, which `variables` does not have"),
        ("x${int:port}", "holds `${int:port}` within a text"),
        ("${", "holds `${` that begins no variable"),
        ("${port", "holds `${` that begins no variable"),
        ("${int:hosts}", "makes a number of `hosts`, which may be a text"),
        ("${int:policies}", "makes a number of `policies`, which may be a text"),
    ],
)
def test_variables_are_used_as_they_can_be(text: str, told: str) -> None:
    assert told in refused(json.dumps(with_spec(containers=[{"name": "authz", "args": [text]}])).encode())


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ({"annotation": "a", "message": "m"}, "has neither `pattern` nor `choices`"),
        ({"annotation": "a", "message": "m", "pattern": "[0-9]+"}, "`variables.v.pattern` is not anchored"),
        ({"annotation": "a", "message": "m", "pattern": "^(?=a)$"}, "is not for RE2"),
        ({"annotation": "a", "message": "m", "pattern": r"^(a)\1$"}, "is not for RE2"),
        ({"annotation": "a", "message": "m", "pattern": "^a++$"}, "is not for RE2"),
        ({"annotation": "a", "message": "m", "pattern": "^($"}, "is no regular expression"),
        ({"annotation": "a/b/c", "message": "m", "pattern": "^a$"}, "`variables.v.annotation` is `a/b/c`"),
        ({"annotation": "a", "pattern": "^a$"}, "missing required field `message`"),
    ],
)
def test_a_variable_says_what_it_may_be(variable: dict[str, Any], told: str) -> None:
    assert told in refused(json.dumps(written(variables={"v": variable})).encode())


def test_a_variable_s_name_is_letters_and_digits() -> None:
    variable = {"annotation": "a", "message": "m", "pattern": "^a$"}
    assert "`variables` names `a-b`" in refused(json.dumps(written(variables={"a-b": variable})).encode())

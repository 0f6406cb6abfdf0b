"""Whatever stands in a pod or a manifest: what is not ours stays, twice is once, and nothing breaks."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.injection.manifest import rewrite
from authz.injection.patch import json_patch
from authz.injection.pod import Injected, LeftAlone, inject_pod
from authz.injection.reading import Document, read_documents
from authz.injection.service import Moved, Unmoved, move_service
from authz.injection.tree import TurnedAway, Word, is_ours
from authz.injection.writing import as_yaml, yaml_of
from authz.model.errors import PolicyError
from tests.support.injection import LABEL, pod, template
from tests.support.json_patch import patched

patient = settings(max_examples=60, deadline=None)
TEMPLATE = template()
NAMES = ["application", "authz", "authz-envoy", "beside", "work", "authz-policies", "", "http"]

texts = st.one_of(st.sampled_from([*NAMES, "true", "no", "010", "1e3", "a b", "x\ny\n"]), st.text(max_size=8))
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts)
keys = st.one_of(
    st.sampled_from(["name", "labels", "metadata", "spec", "containers", "ports", LABEL, "kind", "items"]),
    texts,
)
json = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=4),
    max_leaves=12,
)
ports: Any = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(NAMES),
        "containerPort": st.sampled_from([80, 9192, 9180, None, "x", []]),
    },
)
containers = st.fixed_dictionaries(
    {},
    optional={
        "name": st.one_of(st.sampled_from(NAMES), json),
        "ports": st.one_of(st.lists(ports, max_size=2), json),
        "volumeMounts": st.one_of(st.just([{"name": "work", "mountPath": "/x"}]), json),
        "env": json,
    },
)
parts = st.one_of(st.lists(containers, max_size=3), json)
specs = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("initContainers", "containers", "volumes", "imagePullSecrets", "x"), parts),
)
pods = st.one_of(
    specs.map(lambda spec: pod(**spec)),
    st.fixed_dictionaries(
        {"metadata": st.one_of(st.just(pod()["metadata"]), json), "spec": st.one_of(specs, json)}
    ),
    json,
)


def not_ours(items: Any) -> Any:
    return [each for each in items or [] if not is_ours(str(each.get("name")))]


@patient
@given(pods)
def test_any_pod_keeps_what_is_its_own_and_is_injected_once(given_pod: Any) -> None:
    before = copy.deepcopy(given_pod)
    outcome = inject_pod(given_pod, TEMPLATE)
    assert given_pod == before
    if isinstance(outcome, TurnedAway):
        assert outcome.why
        assert "\n" not in outcome.why
    if not isinstance(outcome, Injected):
        return
    after: Any = outcome.pod
    spec = before.get("spec") or {}
    for name in ("initContainers", "containers", "volumes"):
        assert not_ours(after["spec"].get(name)) == (spec.get(name) or [])
    left = {name: part for name, part in spec.items() if name not in after["spec"]}
    assert left == {}
    assert inject_pod(after, TEMPLATE) == LeftAlone(complete=True)
    assert patched(before, json_patch(before, after)) == after


@patient
@given(json, json)
def test_a_patch_makes_any_json_of_any_other(before: Any, after: Any) -> None:
    assert (
        repr(patched(before, json_patch(before, after))) == repr(after)
        or patched(before, json_patch(before, after)) == after
    )


services = st.fixed_dictionaries(
    {
        "metadata": st.one_of(st.just({"labels": {LABEL: "true"}}), json),
        "spec": st.one_of(
            st.fixed_dictionaries({"ports": st.one_of(st.lists(ports, max_size=3), json)}), json
        ),
    }
)


@patient
@given(st.one_of(services, json), st.booleans())
def test_any_service_is_moved_once_or_stays(service: Any, selected: bool) -> None:
    before = copy.deepcopy(service)
    outcome = move_service(service, TEMPLATE, selected=selected)
    assert service == before
    if isinstance(outcome, Moved):
        assert move_service(outcome.service, TEMPLATE, selected=selected) == Unmoved(led=True)


kinds = st.sampled_from(["Pod", "Deployment", "CronJob", "Service", "List", "PodList", "Rollout", "Secret"])
things = st.one_of(
    json,
    st.builds(lambda kind, body: {"kind": kind, **body} if isinstance(body, dict) else body, kinds, pods),
    st.builds(lambda kind, inner: {"kind": kind, "spec": {"template": inner}}, kinds, pods),
    st.builds(lambda kind, inner: {"kind": kind, "items": [inner]}, kinds, pods),
)


@patient
@given(st.lists(things, max_size=4))
def test_any_manifests_are_rewritten_once(found: list[Any]) -> None:
    documents = [Document("f", index, thing, "") for index, thing in enumerate(found, 1)]
    result = rewrite(documents, TEMPLATE, "default")
    again = [
        each if now is None else each._replace(data=now)
        for each, now in zip(documents, result.changed, strict=True)
    ]
    twice = rewrite(again, TEMPLATE, "default")
    assert all(each is None for each in twice.changed)
    assert twice.lacking == ()
    assert twice.refused == result.refused


@patient
@given(json)
def test_what_is_written_is_what_is_read(value: Any) -> None:
    if value is None:
        return
    written = yaml_of(value)
    found = read_documents(written.encode(), "f")
    assert [each.data for each in found] == [value]
    assert yaml.safe_load(written) == value


yamlish = st.text(alphabet="ab01no:-[]{}'\"|>&*#!%.,? \n\t~<=\u2028\x85\r", max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.one_of(yamlish, yamlish.map(lambda text: f"a: 1\n---\n{text}\n---\nb: 2"), st.text(max_size=40)))
@example("a: |+\n  x\n\n---\nb: 1")
@example("--- |\n a\n--- # x\n...\n# y\n---\nb: 2")
def test_any_text_is_refused_or_written_as_it_was(text: str) -> None:
    try:
        found = read_documents(text.encode("utf-8", "replace"), "f")
    except PolicyError as fault:
        assert "\n" not in str(fault)  # noqa: PT017 - whichever it is
        return
    written = "".join(as_yaml(found, [None] * len(found)))
    assert [each.data for each in read_documents(written.encode(), "f")] == [each.data for each in found]
    anew = "".join(as_yaml(found, [each.data for each in found]))
    assert [each.data for each in read_documents(anew.encode(), "f")] == [each.data for each in found]


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="0123456789xXobB_+-.eEnNyYaf", min_size=1, max_size=8))
def test_a_word_is_written_as_it_stood_or_means_the_same(word: str) -> None:
    try:
        found = read_documents(f"k: {word}\n".encode(), "f")
    except PolicyError:
        return
    data: Any = found[0].data
    again = yaml_of(data)
    if isinstance(data, dict) and isinstance(data.get("k"), Word):
        assert again == f"k: {word}\n"
    assert read_documents(again.encode(), "f")[0].data == data

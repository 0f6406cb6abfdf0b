"""Calls as lightkube makes them, answered here: what is sent, and what each answer becomes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster as ClusterModel
from lightkube.config.models import User

from authz.admission.census import Seen
from authz.admission.cluster import Cluster, ServerTime, connect
from authz.admission.kube import Conflict, Known, Stored, Unreachable
from authz.model.errors import ConfigError

Answer = Callable[[httpx2.Request], httpx2.Response]


def _cluster(answer: Answer) -> Cluster:
    clock = ServerTime(httpx2.MockTransport(answer), lambda: 5.0, lambda: 100.0)
    config = KubeConfig.from_one(cluster=ClusterModel(server="https://api.test"), user=User(token="t")).get()
    return Cluster(Client(config, transport=clock), clock)


def _status(code: int, message: str = "because") -> httpx2.Response:
    body = {"kind": "Status", "apiVersion": "v1", "code": code, "message": message, "status": "Failure"}
    return httpx2.Response(code, json=body)


def _said(answer: httpx2.Response) -> tuple[Cluster, list[httpx2.Request]]:
    asked: list[httpx2.Request] = []

    def told(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answer

    return _cluster(told), asked


SECRET = {"kind": "Secret", "metadata": {"name": "hook", "resourceVersion": "7"}, "data": {"a": "Yg=="}}
STORED = Stored("7", {"a": "Yg==", "gone": "Yg=="})


def test_a_secret_is_read() -> None:
    cluster, asked = _said(httpx2.Response(200, json=SECRET))
    assert cluster.secret("shop", "hook") == Stored("7", {"a": "Yg=="})
    assert asked[0].url.path == "/api/v1/namespaces/shop/secrets/hook"


def test_a_secret_that_is_not_there_is_none() -> None:
    assert _said(_status(404))[0].secret("shop", "hook") is None


def test_a_secret_is_written_over_the_version_that_was_read_and_what_went_is_taken_out() -> None:
    cluster, asked = _said(httpx2.Response(200, json=SECRET))
    cluster.write("shop", "hook", {"a": "Yw=="}, STORED)
    assert asked[0].headers["content-type"] == "application/merge-patch+json"
    assert json.loads(asked[0].content) == {
        "metadata": {"resourceVersion": "7"},
        "data": {"a": "Yw==", "gone": None},
    }


def test_somebody_was_quicker() -> None:
    cluster, _ = _said(_status(409))
    with pytest.raises(Conflict):
        cluster.write("shop", "hook", {}, STORED)
    with pytest.raises(Conflict):
        cluster.introduce("hook", Known("7", {"a.b.c": b""}), b"ca")


def test_a_configuration_is_read_and_its_bundles_patched_by_name() -> None:
    text = base64.b64encode(b"old").decode()
    webhooks = [
        {"name": "a.b.c", "clientConfig": {"caBundle": text}, "sideEffects": "None"},
        {"name": "d.e.f", "clientConfig": {}, "sideEffects": "None"},
        {"name": "g.h.i", "clientConfig": {"caBundle": "not base64"}, "sideEffects": "None"},
    ]
    for each in webhooks:
        each["admissionReviewVersions"] = ["v1"]
    cluster, asked = _said(
        httpx2.Response(200, json={"metadata": {"resourceVersion": "9"}, "webhooks": webhooks})
    )
    known = cluster.webhooks("hook")
    assert known == Known("9", {"a.b.c": b"old", "d.e.f": b"", "g.h.i": b""})
    cluster.introduce("hook", known, b"new")
    assert asked[1].headers["content-type"] == "application/strategic-merge-patch+json"
    sent = json.loads(asked[1].content)
    assert sent["metadata"] == {"resourceVersion": "9"}
    assert sent["webhooks"][0] == {"name": "a.b.c", "clientConfig": {"caBundle": "bmV3"}}
    assert len(sent["webhooks"]) == 3


def _pod(name: str, phase: str = "Running", **metadata: str) -> dict[str, Any]:
    ours = [{"name": "authz", "restartPolicy": "Always"}, {"name": "authz-envoy"}]  # the second one ends
    spec = {"initContainers": ours, "containers": [{"name": "application"}]}
    return {
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": spec,
        "status": {"phase": phase},
    }


def test_pods_are_read_page_by_page_and_those_that_are_over_do_not_count() -> None:
    pages = [
        {"metadata": {"continue": "more"}, "items": [_pod("a"), _pod("done", "Succeeded")]},
        {
            "metadata": {},
            "items": [_pod("b", "Pending"), _pod("c", deletionTimestamp="2026-01-01T00:00:00Z")],
        },
    ]
    asked: list[httpx2.Request] = []

    def told(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json=pages[len(asked) - 1])

    pods = list(_cluster(told).pods("*", "sidecar.authz/inject"))
    assert pods == [Seen("shop", name, ["authz", "application"]) for name in ("a", "b")]
    assert asked[0].url.path == "/api/v1/pods"
    assert asked[0].url.params["labelSelector"] == "sidecar.authz/inject=true"
    assert asked[0].url.params["limit"] == "200"
    assert asked[1].url.params["continue"] == "more"


def _raise(error: Exception) -> Answer:
    def told(_: httpx2.Request) -> httpx2.Response:
        raise error

    return told


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: _status(403, "forbidden:\nno"),
        lambda _: _status(500),
        lambda _: httpx2.Response(502, text="<html>", headers={"content-type": "text/html"}),
        lambda _: httpx2.Response(503),
        lambda _: httpx2.Response(200, text="<html>"),
        lambda _: httpx2.Response(200, json=[]),
        lambda _: httpx2.Response(200, json={"items": 3, "metadata": 4, "data": 5, "webhooks": 6}),
        _raise(httpx2.ConnectError("refused")),
        _raise(httpx2.ReadTimeout("")),
        _raise(OSError("no descriptor")),
    ],
)
def test_whatever_is_wrong_is_one_error_of_ours(answer: Answer) -> None:
    cluster = _cluster(answer)
    for ask in (
        lambda: cluster.secret("shop", "hook"),
        lambda: cluster.webhooks("hook"),
        lambda: list(cluster.pods("*", "a")),
    ):
        with pytest.raises(Unreachable) as fault:
            ask()
        assert "\n" not in str(fault.value)


def test_time_is_the_api_servers() -> None:
    told = httpx2.Response(200, json=SECRET, headers={"date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    cluster, _ = _said(told)
    assert cluster.now_s() == 5.0, "nobody told it yet"
    cluster.secret("shop", "hook")
    assert cluster.now_s() == 1_800_000_000.0


def test_between_answers_time_passes_as_the_monotonic_clock_says() -> None:
    ticks = [100.0]
    told = httpx2.Response(200, headers={"date": "Fri, 15 Jan 2027 08:00:00 GMT"})
    clock = ServerTime(httpx2.MockTransport(lambda _: told), lambda: 5.0, lambda: ticks[0])
    clock.handle_request(httpx2.Request("GET", "https://api.test"))
    ticks[0] = 160.0
    assert clock.now_s() == 1_800_000_060.0
    clock.close()


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Jan 9999999 08:00:00 GMT"])
def test_a_date_that_is_none_says_nothing(date: str) -> None:
    told = httpx2.Response(200, headers={"date": date})
    clock = ServerTime(httpx2.MockTransport(lambda _: told), lambda: 5.0)
    clock.handle_request(httpx2.Request("GET", "https://api.test"))
    assert clock.now_s() == 5.0


def test_without_a_way_to_an_api_server_there_is_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for content in (None, "", "]", "clusters: 3", "current-context: none"):
        path = tmp_path / "kubeconfig"
        if content is not None:
            path.write_text(content)
        monkeypatch.setenv("KUBECONFIG", str(path))
        with pytest.raises(ConfigError, match="set KUBECONFIG"):
            connect()


def test_a_kubeconfig_leads_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "a", "user": {"token": "t"}}],
                "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
                "current-context": "a",
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(Unreachable, match="read the Secret"):
        connect().secret("shop", "hook")

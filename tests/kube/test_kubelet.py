"""The kubelet of the tests itself: what it refuses, and that it lays out and expands as a real one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kube.node.environment import NotConfigured, command, environment, expanded
from tests.kube.node.fields import NotHonoured, refuse_unknown
from tests.kube.node.images import NoImage, image
from tests.kube.node.volumes import File, NotMounted, Volumes, write_whole

Object = dict[str, Any]


class Nothing:
    """An API server that holds nothing."""

    def get(self, kind: str, namespace: str, name: str = "") -> Object | None:
        return None


def _pod(**spec: Any) -> Object:
    return {"metadata": {"name": "one", "namespace": "shop", "labels": {"app": "items"}}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"containers": [{"lifecycle": {"postStart": {}}}]}, "spec.containers[0].lifecycle.postStart"),
        ({"containers": [{"securityContext": {"capabilities": {"add": ["ALL"]}}}]}, "capabilities.add"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath"),
    ],
)
def test_a_field_that_it_does_not_know_is_refused_by_its_path(spec: Object, where: str) -> None:
    with pytest.raises(NotHonoured, match="does not know this field") as refused:
        refuse_unknown(spec)
    assert where in str(refused.value)


def test_an_image_that_nothing_stands_for_is_refused() -> None:
    assert image("registry.example.com:5000/team/authz:1.0").entrypoint == ("authz",)
    with pytest.raises(NoImage, match="no program here stands for the image `nginx:1`"):
        image("nginx:1")


def test_variables_are_expanded_as_in_a_cluster() -> None:
    assert expanded("$(A)-$$(A)-$(NONE)-$A", {"A": "a"}) == "a-$(A)-$(NONE)-$A"
    assert command({"args": ["$(A)"]}, ("run",), ("default",), {"A": "a"}) == ["run", "a"]
    assert command({"command": ["sh"]}, ("run",), ("default",), {}) == ["sh"]  # the image's arguments go, too


def test_the_downward_api_is_told_and_a_missing_secret_is_an_error() -> None:
    field = {"fieldRef": {"fieldPath": "metadata.labels['app']"}}
    limit = {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}
    container = {
        "env": [{"name": "APP", "valueFrom": field}, {"name": "MIB", "valueFrom": limit}],
        "resources": {"limits": {"memory": "192Mi"}},
    }
    env = environment(container, _pod(), Nothing(), {})
    assert (env["APP"], env["MIB"]) == ("items", "192")
    container["env"] = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}]
    with pytest.raises(NotConfigured, match='secret "keys" not found'):
        environment(container, _pod(), Nothing(), {})


def test_files_change_all_at_once_behind_one_link(tmp_path: Path) -> None:
    assert write_whole(tmp_path, [File("a", b"1", 0o644), File("b", b"1", 0o400)])
    first = (tmp_path / "..data").readlink()
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o400
    assert not write_whole(tmp_path, [File("a", b"1", 0o644), File("b", b"1", 0o400)])  # nothing is new
    assert write_whole(tmp_path, [File("a", b"2", 0o644)])
    assert (tmp_path / "..data").readlink() != first
    assert not (tmp_path / first).exists()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"2"


def test_a_volume_of_what_is_not_there_is_not_mounted(tmp_path: Path) -> None:
    volumes = [{"name": "keys", "projected": {"sources": [{"secret": {"name": "peppers"}}]}}]
    made = Volumes(_pod(volumes=volumes), tmp_path, Nothing(), lambda *_: b"", lambda *_: None)
    with pytest.raises(NotMounted) as refused:
        made.make()
    assert str(refused.value) == 'MountVolume.SetUp failed for volume "keys" : secret "peppers" not found'

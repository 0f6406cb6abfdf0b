"""Looks at labelled pods: what is told of them, and what where they cannot be seen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from authz.admission.census import Seen
from authz.admission.numbers import Numbers
from authz.admission.patrol import Patrol
from authz.injection.template import Template
from tests.support.admission import TEMPLATE
from tests.support.kube import FakeKube

READ = Template.parse(TEMPLATE)
WELL, BARE = Seen("shop", "well", ("authz", "application")), Seen("shop", "bare", ("application",))


class _Watched:
    """A patrol and what it told."""

    def __init__(self, namespaces: Sequence[str] = ("*",)) -> None:
        self.kube = FakeKube()
        self.numbers = Numbers()
        self.patrol = Patrol(self.kube, namespaces, lambda: READ, self.numbers, lambda: 1234.0)

    def shown(self, name: str, namespace: str = "shop") -> str:
        start = f'{name}{{pod_namespace="{namespace}"}} '
        lines = self.numbers.page().decode().splitlines()
        return "".join(line.removeprefix(start) for line in lines if line.startswith(start))


def test_pods_are_told_by_namespace() -> None:
    watched = _Watched()
    watched.kube.listed = [WELL, BARE, Seen("till", "well", ("authz",))]
    assert watched.patrol.look()
    assert watched.shown("authz_injection_pods") == "2.0"
    assert watched.shown("authz_injection_pods_missing_sidecar") == "1.0"
    assert watched.shown("authz_injection_pods_missing_sidecar", "till") == "0.0"
    assert b"authz_injection_last_look_timestamp_seconds 1234.0" in watched.numbers.page()


def test_a_namespace_without_pods_is_gone() -> None:
    watched = _Watched()
    watched.kube.listed = [BARE]
    watched.patrol.look()
    watched.kube.listed = []
    watched.patrol.look()
    assert watched.shown("authz_injection_pods") == ""


def test_each_namespace_is_looked_at_once() -> None:
    watched = _Watched(("shop", "till", "shop"))
    watched.kube.listed = [BARE, Seen("other", "a", ())]
    watched.patrol.look()
    assert watched.shown("authz_injection_pods") == "1.0"
    assert watched.shown("authz_injection_pods", "other") == ""


def test_where_pods_cannot_be_seen_what_was_counted_stays(capfd: pytest.CaptureFixture[str]) -> None:
    watched = _Watched()
    watched.kube.listed = [BARE]
    watched.patrol.look()
    watched.kube.away = True
    assert not watched.patrol.look()
    assert not watched.patrol.look()
    assert watched.shown("authz_injection_pods_missing_sidecar") == "1.0"
    assert b'authz_injection_looks_total{result="failed"} 2.0' in watched.numbers.page()
    said = capfd.readouterr()
    assert (said.out + said.err).count("cannot be counted") == 1


def test_pods_without_a_sidecar_are_named_once_and_their_end_is_told(
    capfd: pytest.CaptureFixture[str],
) -> None:
    watched = _Watched()
    watched.kube.listed = [BARE]
    watched.patrol.look()
    watched.patrol.look()
    watched.kube.listed = [WELL]
    watched.patrol.look()
    said = capfd.readouterr()
    text = said.out + said.err
    assert text.count("shop/bare") == 1
    assert text.count("no labelled pod lacks its sidecar any more") == 1


def test_a_bug_of_ours_ends_nothing() -> None:
    watched = _Watched()
    watched.kube.listed = [None]  # type: ignore[list-item]  # as no API server answers
    assert not watched.patrol.look()

"""Labelled pods counted by namespace, in bounded numbers."""

from __future__ import annotations

from authz.admission.census import NAMED_MAX, NAMESPACES_MAX, OTHERS, Count, Seen, count

REQUIRED = ("authz-init", "authz")
COMPLETE = ("authz-init", "authz", "application")


def test_a_pod_lacks_its_sidecar_where_one_container_is_missing() -> None:
    pods = [
        Seen("shop", "a", COMPLETE),
        Seen("shop", "b", ("authz", "application")),
        Seen("shop", "c", ("application",)),
        Seen("till", "d", COMPLETE),
    ]
    found = count(pods, REQUIRED)
    assert found.counts == {"shop": Count(3, 2), "till": Count(1, 0)}
    assert (found.missing, found.examples) == (2, ("shop/b", "shop/c"))


def test_nobody_asked() -> None:
    assert count([], REQUIRED).counts == {}


def test_namespaces_beyond_a_bound_are_counted_together_and_those_that_lack_are_named_first() -> None:
    pods = [Seen(f"n{number:04}", "a", COMPLETE) for number in range(NAMESPACES_MAX + 20)]
    pods.append(Seen("z-last", "b", ()))
    found = count(pods, REQUIRED).counts
    assert len(found) == NAMESPACES_MAX + 1
    assert found["z-last"] == Count(1, 1)
    assert found[OTHERS] == Count(21, 0)


def test_a_few_pods_are_named() -> None:
    assert len(count([Seen("a", str(n), ()) for n in range(99)], REQUIRED).examples) == NAMED_MAX

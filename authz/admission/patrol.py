"""Looks at every labelled pod now and then, and tells how many lack their sidecar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from authz.admission.census import Seen, count
from authz.admission.kube import Kube, Unreachable
from authz.admission.numbers import Numbers
from authz.config.log import get_logger
from authz.injection.guard import required
from authz.injection.template import Template

LOOK_S = 30.0
EVERYWHERE = "*"

_PODS, _MISSING = "authz_injection_pods", "authz_injection_pods_missing_sidecar"
_LOOKED, _LOOKS = "authz_injection_last_look_timestamp_seconds", "authz_injection_looks_total"
_log = get_logger("watch")


class Patrol:
    """One look after the other.

    Args:
        kube: where pods are listed.
        namespaces: of which; `*` alone: of all.
        template: returns what pods get, and the label by which they ask.
        numbers: where it is told.
        wall_s: seconds since 1970.
    """

    def __init__(
        self,
        kube: Kube,
        namespaces: Sequence[str],
        template: Callable[[], Template],
        numbers: Numbers,
        wall_s: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._namespaces = tuple(dict.fromkeys(namespaces))
        self._template = template
        self._numbers = numbers
        self._wall_s = wall_s
        self._missing: tuple[str, ...] = ()
        self._fault = ""
        for result in ("done", "failed"):
            numbers.begin(_LOOKS, result)

    def look(self) -> bool:
        """Count them; whether that could be done. What was counted before stays where it could not."""
        template = self._template()
        try:
            census = count(self._pods(template.label), required(template))
        except Unreachable as fault:
            self._failed(str(fault))
            return False
        except Exception as bug:  # noqa: BLE001 - a bug of ours: it is told, and the next look may do better
            self._failed(f"a fault of the watch's own ({type(bug).__name__})")
            return False
        self._numbers.show_rows(_PODS, ((name, each.labelled) for name, each in census.counts.items()))
        self._numbers.show_rows(_MISSING, ((name, each.missing) for name, each in census.counts.items()))
        self._numbers.show(_LOOKED, self._wall_s())
        self._numbers.count(_LOOKS, "done")
        self._fault = ""
        if census.examples != self._missing:
            self._missing = census.examples
            _tell(census.missing, census.examples)
        return True

    def _pods(self, label: str) -> Iterator[Seen]:
        for namespace in self._namespaces:
            yield from self._kube.pods(namespace, label)

    def _failed(self, fault: str) -> None:
        self._numbers.count(_LOOKS, "failed")
        if fault != self._fault:
            self._fault = fault
            _log.warning("labelled pods cannot be counted; the last numbers stay", fault=fault)


def _tell(missing: int, examples: tuple[str, ...]) -> None:
    if missing:
        _log.error("pods run without their sidecar", pods=missing, such_as=list(examples))
    else:
        _log.info("no labelled pod lacks its sidecar any more")

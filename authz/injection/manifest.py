"""Manifests with the sidecar in them: which pod templates ask for it, and which Services lead to them.

1. each workload whose pod template carries the label gets the sidecar
2. each Service that carries the label, or selects what was injected, is led to it

Whoever is turned away is named with the place; what others wrote and does not ask stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from authz.injection.pod import Injected, LeftAlone, asked, inject_pod
from authz.injection.reading import Document
from authz.injection.service import Moved, Unmoved, move_service
from authz.injection.template import Template
from authz.injection.tree import Json, Object, TurnedAway, mapping, quoted, text
from authz.injection.unread import unread

Path: TypeAlias = tuple[str, ...]


class _Kind(NamedTuple):
    group: str
    path: Path  # where its pod template stands


_WORKLOADS: Mapping[str, _Kind] = {
    "Pod": _Kind("", ()),
    "DaemonSet": _Kind("apps", ("spec", "template")),
    "Deployment": _Kind("apps", ("spec", "template")),
    "ReplicaSet": _Kind("apps", ("spec", "template")),
    "StatefulSet": _Kind("apps", ("spec", "template")),
    "CronJob": _Kind("batch", ("spec", "jobTemplate", "spec", "template")),
    "Job": _Kind("batch", ("spec", "template")),
}
_SERVICE = "Service"
_LIST = "List"  # of anything; `PodList` and its like say what their items are


class Note(NamedTuple):
    """Something about one object of the input.

    Args:
        where: file, document, item of a list, kind and name.
        what: what is so, and what to do.
    """

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Rewritten(NamedTuple):
    """What became of the documents.

    Args:
        changed: for each document what it says now; None where it stays as it is.
        refused: who asks for the sidecar and cannot have it.
        lacking: who asked for it and did not have it before.
        odd: what is allowed, and probably not meant.
    """

    changed: tuple[Json | None, ...]
    refused: tuple[Note, ...]
    lacking: tuple[Note, ...]
    odd: tuple[Note, ...]


class _Selected(NamedTuple):
    """Pods that have the sidecar, as Services find them."""

    namespace: str
    labels: Mapping[str, Json]


_Change: TypeAlias = Callable[[Object, str, str], Json]  # of an object, of its kind, called so


def rewrite(documents: Sequence[Document], template: Template, namespace: str) -> Rewritten:
    """Put the sidecar into what asks for it.

    Args:
        namespace: of what names none.
    """
    work = _Work(template, namespace)
    places = [f"{document.file}: document {document.number}" for document in documents]
    data = [document.data for document in documents]
    for change in (work.workload, work.service):
        data = [_each(each, place, change) for each, place in zip(data, places, strict=True)]
    pairs = zip(documents, data, strict=True)
    changed = tuple(None if now is document.data else now for document, now in pairs)
    return Rewritten(changed, tuple(work.refused), tuple(work.lacking), tuple(work.odd))


def _each(data: Json, where: str, change: _Change, kind: str = "") -> Json:
    """Return a document with its objects changed: the same one where none was."""
    if not isinstance(data, dict):
        return data
    said = text(data.get("kind")) or kind
    items = data.get("items")
    if not (said.endswith(_LIST) and isinstance(items, list)):
        return change(data, said, f"{where}, {_called(data, said)}")
    of = said.removesuffix(_LIST)
    after = [_each(each, f"{where}, item {index}", change, of) for index, each in enumerate(items, 1)]
    same = all(new is old for new, old in zip(after, items, strict=True))
    return data if same else {**data, "items": after}


def _called(thing: Object, kind: str) -> str:
    metadata = mapping(thing.get("metadata"))
    name = text(metadata.get("name")) or text(metadata.get("generateName")) or "without a name"
    namespace = text(metadata.get("namespace"))
    return f"{quoted(kind)[1:-1] or 'no kind'} {quoted(f'{namespace}/{name}' if namespace else name)}"


class _Work:
    def __init__(self, template: Template, namespace: str) -> None:
        self._template = template
        self._namespace = namespace
        self._selected: list[_Selected] = []
        self.refused: list[Note] = []
        self.lacking: list[Note] = []
        self.odd: list[Note] = []

    def workload(self, thing: Object, kind: str, where: str) -> Json:
        """Return a workload with the sidecar in it, anything else as it is."""
        known = _WORKLOADS.get(kind)
        if known is None or not _is_of(thing, known.group):
            self._look_for_pods(thing, where)
            return thing
        return self._workload(thing, known.path, where)

    def _workload(self, thing: Object, path: Path, where: str) -> Json:
        pod = _at(thing, path)
        self.odd += [Note(where, what) for what in unread(pod, self._template)]
        outcome = inject_pod(pod, self._template)
        match outcome:
            case TurnedAway(why):
                self.refused.append(Note(where, why))
            case LeftAlone(complete=True):
                self._served(thing, pod)
            case LeftAlone():
                self._mislabelled(thing, path, where)
            case Injected(after):
                self.lacking.append(Note(where, "it asks for the sidecar and has none: run `authz inject`"))
                self._served(thing, after)
                return _put(thing, path, after)
        return thing

    def service(self, thing: Object, kind: str, where: str) -> Json:
        """Return a Service led to the sidecar, anything else as it is."""
        if kind != _SERVICE or not _is_of(thing, ""):
            return thing
        outcome = move_service(thing, self._template, selected=self._selects(thing))
        match outcome:
            case TurnedAway(why):
                self.refused.append(Note(where, why))
            case Moved(after):
                self.lacking.append(Note(where, "it leads past the sidecar: run `authz inject`"))
                return after
            case Unmoved():
                pass
        return thing

    def _served(self, thing: Object, pod: Json) -> None:
        labels = mapping(mapping(mapping(pod).get("metadata")).get("labels"))
        self._selected.append(_Selected(self._home(thing), labels))

    def _home(self, thing: Object) -> str:
        return text(mapping(thing.get("metadata")).get("namespace")) or self._namespace

    def _selects(self, service: Object) -> bool:
        selector = mapping(mapping(service.get("spec")).get("selector"))
        home = self._home(service)
        return bool(selector) and any(
            pods.namespace == home and selector.items() <= pods.labels.items() for pods in self._selected
        )

    def _mislabelled(self, thing: Object, path: Path, where: str) -> None:
        if path and asked(thing, self._template) is True:
            below = ".".join((*path, "metadata.labels"))
            self.odd.append(Note(where, f"its pods get no sidecar: put the label into `{below}`, too"))

    def _look_for_pods(self, thing: Object, where: str) -> None:
        # A kind that nobody knows here must not let its pods start without the sidecar that they ask for.
        if any(asked(pod, self._template) is True for pod in _pods_below(thing)):
            what = (
                "it holds a pod template that asks for the sidecar, and its kind is not known here: "
                "take the label off, or let the cluster inject it"
            )
            self.refused.append(Note(where, what))


def _is_of(thing: Object, group: str) -> bool:
    """Tell whether an object is of an API group; items of a list need not say of which they are."""
    version = thing.get("apiVersion")
    return version is None or (isinstance(version, str) and version.rpartition("/")[0] == group)


def _at(thing: Json, path: Path) -> Json:
    for step in path:
        thing = mapping(thing).get(step)
    return thing


def _put(thing: Json, path: Path, pod: Json) -> Json:
    """Return an object with another pod template."""
    if not path:
        return pod
    return {**mapping(thing), path[0]: _put(mapping(thing).get(path[0]), path[1:], pod)}


def _pods_below(thing: Object) -> Iterator[Object]:
    """Yield whatever has the shape of a pod template below an object."""
    waiting: list[Json] = list(thing.values())
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if isinstance(mapping(each.get("spec")).get("containers"), list):
                yield each
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)

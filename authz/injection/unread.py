"""Annotations of a pod that look like ours and that nobody reads: probably misspelled."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from authz.injection.template import Template
from authz.injection.tree import Json, mapping, quoted

_CHARS = 80  # of a name that is compared
# Where a mesh's Envoy asks, nobody reads these, and a pod may have them all the same: it may move.
_OF_OUR_ENVOY = ("port", "listen-port", "envoy-cpu", "envoy-memory")


def unread(pod: Json, template: Template) -> Iterator[str]:
    """Yield what to say about each annotation of a pod that looks like ours and does nothing."""
    told = mapping(mapping(mapping(pod).get("metadata")).get("annotations"))
    known = {each.annotation for each in template.variables} | set(template.annotations)
    ours = template.label.partition("/")[0] + "/"
    known |= {ours + word for word in _OF_OUR_ENVOY}
    words = sorted(name.removeprefix(ours) for name in known if name.startswith(ours))
    for name in told:
        if name == template.label:
            yield f"`{name}` is an annotation, which does nothing: make it a label of the pod"
        elif name.startswith(ours) and name not in known:
            yield f"nobody reads annotation {quoted(name)}: {_meant(name.removeprefix(ours), words, ours)}"


def _meant(word: str, words: list[str], ours: str) -> str:
    near = get_close_matches(word[:_CHARS], words, n=1)
    return f"did you mean `{ours}{near[0]}`?" if near else f"after `{ours}` stands one of {', '.join(words)}"

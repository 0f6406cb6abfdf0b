"""Manifests as text: read or refused quickly, at a place, and written so that they read as before."""

from __future__ import annotations

import time

from authz.injection.manifest import rewrite
from authz.injection.reading import Document, read_documents
from authz.injection.tree import Json
from authz.injection.writing import as_json, as_yaml
from authz.model.errors import PolicyError
from tests.fuzz.target import Target
from tests.support.injection import template

_CPU_S = 1.0
_TEMPLATE = template()


def run(data: bytes) -> None:
    """Read one input, put the sidecar in, and read what came of it."""
    began = time.thread_time()
    try:
        documents = read_documents(data, "f.yaml")
    except PolicyError as fault:
        _is_told(fault)
        return
    finally:
        assert time.thread_time() - began < _CPU_S
    unchanged: list[Json | None] = [None] * len(documents)
    _reads_as(documents, unchanged, [each.data for each in documents])
    result = rewrite(documents, _TEMPLATE, "default")
    for note in (*result.refused, *result.lacking, *result.odd):
        assert str(note).isprintable()
    pairs = list(zip(documents, result.changed, strict=True))
    after = [each.data if now is None else now for each, now in pairs]
    _reads_as(documents, result.changed, after)
    _reads_as(documents, after, after)
    "".join(as_json(after)).encode()
    again = [each._replace(data=now) for each, now in zip(documents, after, strict=True)]
    assert all(now is None for now in rewrite(again, _TEMPLATE, "default").changed)


def _is_told(fault: PolicyError) -> None:
    assert fault.place.line >= 1
    assert fault.place.column >= 1
    assert fault.what.isprintable()


def _reads_as(
    documents: list[Document], changed: list[Json | None] | tuple[Json | None, ...], data: list[Json]
) -> None:
    written = "".join(as_yaml(documents, changed))
    assert [each.data for each in read_documents(written.encode(), "g.yaml")] == data


TARGET = Target(
    run,
    4096,
    tuple(
        word.encode()
        for word in (
            *(
                "---\n",
                "...\n",
                ": ",
                "- ",
                "\n  ",
                "{",
                "}",
                "[",
                "]",
                "&a ",
                "*a",
                "<<: ",
                "!!str ",
                "|+\n",
                ">-\n",
            ),
            *(
                "kind: Pod\n",
                "kind: Service\n",
                "items:",
                "metadata:",
                "labels:",
                "spec:",
                "containers:",
                "name: ",
            ),
            *(
                'sidecar.authz/inject: "true"',
                "sidecar.authz/hosts: a.b",
                "template:",
                "authz-envoy",
                "ports:",
            ),
            *(
                "no",
                "010",
                "0x1f",
                "1e3",
                ".inf",
                "~",
                "# c\n",
                "\t",
                "\r\n",
                "\\ud83d\\ude00",
                "\ufeff",
                "\u2028",
            ),
        )
    ),
)

from __future__ import annotations

import pytest

from authz.policy.source import Path, Source

TEXT = """\
first: 1
---
spec:
  rules:
    - name: a
      when: >-
        x
    - {name: b, paths: [/x, "/y"]}
  copy: &c {d: 1}
  again: *c
  twice: 1
  twice: 2
"""


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (3, 1), (3, 1)),
        (("spec",), (4, 3), (3, 1)),
        (("spec", "rules", 0), (5, 7), (5, 7)),
        (("spec", "rules", 0, "when"), (6, 13), (6, 7)),
        (("spec", "rules", 1, "paths", 1), (8, 29), (8, 29)),
        (("spec", "rules", 1, "paths", 7), (8, 24), (8, 24)),
        (("spec", "rules", 1, "nothing", "below"), (8, 7), (8, 7)),
        (("spec", "again", "d"), (10, 10), (10, 10)),
        (("spec", "twice"), (11, 10), (11, 3)),
    ],
)
def test_every_value_and_key_has_its_place_or_that_of_its_nearest_ancestor(
    path: Path, value: tuple[int, int], key: tuple[int, int]
) -> None:
    source = Source("f.yaml", TEXT)
    place = source.place(1, path)
    assert (place.file, place.line, place.column) == ("f.yaml", *value)
    place = source.place(1, path, key=True)
    assert (place.line, place.column) == key


def test_columns_count_characters() -> None:
    assert str(Source("f.yaml", "é: {ü: x}").place(0, ("é", "ü"))) == "f.yaml:1:8"


def test_a_text_that_breaks_off_has_places_up_to_there() -> None:
    source = Source("f.yaml", "a: 1\nb: [x, {c: d\n")
    assert str(source.place(0, ("b", 1, "c"))) == "f.yaml:2:12"
    assert str(source.place(7, ("b",))) == "f.yaml:1:1"


def test_a_text_too_deep_for_anybody_has_places_up_to_there() -> None:
    assert Source("f.yaml", "[" * 100_000).place(0, (0, 0, 0)).column == 4

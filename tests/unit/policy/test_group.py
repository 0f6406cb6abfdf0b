"""What a group takes over from the one before is what it would have worked out by itself."""

from __future__ import annotations

import random
from collections.abc import Mapping

from authz.policy.group import Group
from authz.policy.load import Cache, load_lenient
from authz.policy.loaded import Loaded

POLICY = """apiVersion: policy.authz/v1alpha1
kind: Policy
metadata: {{name: {name}}}
spec: {{hosts: [{host}], rules: [{{name: a, effect: deny, methods: [{method}]}}]}}
"""


def files(dice: random.Random) -> dict[str, bytes]:
    """Some files of some policies; METHOD is one that deserves a look."""
    made: dict[str, bytes] = {}
    for number in range(40):
        host = f"{dice.randrange(20)}.example"
        method = "GET" if dice.random() < 0.9 else "METHOD"
        text = POLICY.format(name=f"p{number:02}", host=host, method=method)
        file = f"{number % 5}.yaml"
        made[file] = made.get(file, b"") + b"---\n" + text.encode()
    return made


def changed(found: Mapping[str, bytes], dice: random.Random) -> dict[str, bytes]:
    """Change, move, copy or forget a policy."""
    file, other = dice.sample(sorted(found), 2)
    documents = found[file].split(b"---\n")[1:]
    one = dice.randrange(len(documents))
    taken = documents[one]
    match dice.randrange(4):
        case 0:
            documents[one] = taken.replace(b".example", b".example.org")
        case 1:
            del documents[one]
        case _ as how:
            more = found[other] + b"---\n" + taken
            kept = documents if how == 3 else documents[:one] + documents[one + 1 :]
            return {**found, file: _joined(kept), other: more}
    return {**found, file: _joined(documents)}


def _joined(documents: list[bytes]) -> bytes:
    return b"".join(b"---\n" + document for document in documents) or b"# none\n"


def asked(loaded: Loaded) -> Group:
    """Have a group work out everything, so that the next may take it over."""
    group = loaded.policies.group
    assert (group.ties, group.telling, group.repeats) is not None
    return group


def test_a_group_after_others_is_the_group_made_from_nothing() -> None:
    dice = random.Random(5)
    repeated = 0
    for _ in range(12):
        cache, found = Cache(), files(dice)
        for _ in range(12):
            now = asked(load_lenient(found, cache)[0])
            alone = Group(now.parts)
            assert now.leaves == alone.leaves
            assert now.repeats == alone.repeats
            assert set(now.ties) == set(alone.ties)
            assert now.telling == alone.telling
            repeated += now.repeats
            found = changed(found, dice)
    assert repeated


def test_a_change_is_what_went_and_what_came() -> None:
    cache = Cache()
    found = files(random.Random(1))
    before = asked(load_lenient(found, cache)[0])
    after = asked(load_lenient({**found, "0.yaml": found["0.yaml"].replace(b"p05", b"p50")}, cache)[0])
    change = after.since(before)
    assert change is not None
    assert [leaf.name for leaf in change.gone] == ["p05"]
    assert [leaf.name for leaf in change.come] == ["p50"]


def test_where_a_name_stands_twice_nobody_says_what_changed() -> None:
    cache = Cache()
    found = files(random.Random(1))
    before = asked(load_lenient(found, cache)[0])
    after = asked(load_lenient({**found, "9.yaml": found["0.yaml"]}, cache)[0])
    assert after.repeats
    assert after.since(before) is None
    assert before.since(after) is None

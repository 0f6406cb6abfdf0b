"""A set that follows many others is the set that would have been built from nothing.

Random edits of files: documents are added, removed, changed, renamed, moved, broken; files come back as they
were. After each, everything that can be asked of a set is compared with one that was built from nothing, and
sets that were in force earlier still answer as they did then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.identity.keyring import Key, Peppers
from authz.model.errors import SnapshotRejected
from authz.model.identity import NOBODY
from authz.policy import reading
from authz.policy.evaluate import evaluate
from authz.policy.loaded import Document
from authz.policy.page import Page
from authz.policy.reading import read_page
from authz.policy.rule import LimitRule, Rule
from authz.policy.shape import Model
from authz.snapshot.build import Builder, Built, Surroundings
from authz.snapshot.snapshot import Snapshot
from tests.support.policies import PEPPER, MadeKey
from tests.support.requests import request

AROUND = Surroundings(Peppers(PEPPER), processes=2, keepers=2)
HEAD = "apiVersion: policy.authz/v1alpha1\n"
PROVIDER = (
    "kind: IdentityProvider\nmetadata: {name: keys}\nspec: {customers: e, apiKey: {in: [{header: x-key}]}}\n"
)
HOSTS = ["a.test", "b.a.test", "c.b.a.test", "other.test"]
PATHS = ["/", "/x", "/x/y", "/x/y/z", "/q"]
KEYS = [MadeKey(f"k{n}", customer=f"c{n % 2}") for n in range(3)]


def policies() -> st.SearchStrategy[str]:
    return st.builds(
        lambda name, mode, hosts, paths, identity, limit, header, when: (
            f"kind: Policy\nmetadata: {{name: {name}}}\nspec:\n  mode: {mode}\n  hosts: [{hosts}]\n  rules:\n"
            f"    - {{name: r, effect: allow, paths: [{paths}], identity: [{identity}]{limit}}}\n"
            f"    - {{name: s, effect: deny, paths: [{paths}], when: '{when}'}}\n{header}"
        ),
        st.sampled_from(["p0", "p1", "p2", "p3"]),
        st.sampled_from(["enforce", "enforce", "shadow"]),
        st.sampled_from(["a.test", '"*.a.test"', '"{h}.a.test"', '"*"', "b.a.test, other.test"]),
        st.sampled_from(["/x", '"/x/{p}"', '"/x/**"', '"/**"', "/x, /q", '"/*/y"']),
        st.sampled_from(["anyone", "anonymous", "keys", "keys", "keys, anonymous", "anyone", "gone"]),
        st.sampled_from(["", "", ", limits: [l0]", ", limits: [l0, l1]"]),
        st.sampled_from(
            [
                "",
                "  onAllow: {headers: {x-a: identity.key_id}}\n",
                "  onAllow: {headers: {x_a: identity.subject}}\n",
            ]
        ),
        st.sampled_from(
            ["false", "false", "true", 'request.query.a == ["1"]', "nonsense", 'request.body == b"1"']
        ),
    )


def limits() -> st.SearchStrategy[str]:
    return st.builds(
        lambda name, per, rate, more: (
            f"kind: Limit\nmetadata: {{name: {name}}}\nspec: {{per: [{per}], rate: {rate}{more}}}\n"
        ),
        st.sampled_from(["l0", "l1"]),
        st.sampled_from(["identity.key_id", "identity.key_id", "client.network", "request.host"]),
        st.sampled_from(["10/s", "5/min"]),
        st.sampled_from(["", ", burst: 7", ", mode: shadow", ", cost: 'size(params)'", ", cost: '99'"]),
    )


DOCUMENTS = st.one_of(
    policies(),
    policies(),
    limits(),
    st.sampled_from(
        [
            PROVIDER,
            PROVIDER.replace("{header: x-key}", "{header: x-a}, {query: k}"),
            "kind: Site\nmetadata: {name: s}\nspec: {hosts: [a.test], guard: {rate: 5/s}}\n",
            "kind: Site\nmetadata: {name: t}\nspec: {hosts: ['*.a.test', a.test], reasons: full}\n",
            "kind: Customer\nmetadata: {name: c0}\nspec: {enabled: false, labels: {tier: gold}}\n",
            "kind: Customer\nmetadata: {name: c0}\nspec: {customers: e, labels: {tier: tin}}\n",
            *(key.document.replace("partner-keys", "keys") for key in KEYS),
            KEYS[0].document.replace("partner-keys", "keys") + "  enabled: false\n",
            "kind: PolicyTest\nmetadata: {name: t}\nspec: {now: 2026-01-01T00:00:00Z, cases: "
            "[{name: c, request: {host: a.test, path: /x}, expect: {outcome: deny, policy: p0}}]}\n",
            "kind: Policy\nmetadata: {name: p9}\n"
            "spec: {hosts: [a.test], rules: [{name: r, effect: allow}]}\n",
            "kind: Nothing\n",
            "a: [1\n",
            "a: 1\na: 2\n",
            "text: |\n  ---\n  kept\n",
        ]
    ),
)
TEXTS = st.builds(
    lambda text, head, before: before + (HEAD + text if head else text),
    DOCUMENTS,
    st.sampled_from([True] * 9 + [False]),
    st.sampled_from(["", "", "", "# said\n", "\n\n"]),
)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "remove", "change", "move", "swap", "back", "drop", "rename"]),
        st.integers(0, 40),
        st.sampled_from(["a.yaml", "b.yaml", "c/d.yaml"]),
        TEXTS,
    ),
    min_size=1,
    max_size=12,
)
Files = dict[str, tuple[str, ...]]
START = (
    HEAD + PROVIDER,
    HEAD + "kind: Limit\nmetadata: {name: l0}\nspec: {per: [identity.key_id], rate: 10/s}\n",
    HEAD + "kind: Limit\nmetadata: {name: l1}\nspec: {per: [identity.customer], rate: 9/s, mode: shadow}\n",
)


def edited(files: Files, history: list[Files], edit: tuple[str, int, str, str]) -> Files:
    """Return the files after one edit."""
    what, number, file, text = edit
    now = {name: list(texts) for name, texts in files.items()}
    places = [(name, at) for name, texts in sorted(now.items()) for at in range(len(texts))]
    if what == "back" and history:
        return history[number % len(history)]
    if what == "add" or not places:
        now.setdefault(file, []).insert(number % (len(now.get(file, [])) + 1), text)
        return _frozen(now)
    name, at = places[number % len(places)]
    match what:
        case "remove":
            del now[name][at]
        case "change":
            now[name][at] = text
        case "move":
            now.setdefault(file, []).append(now[name].pop(at))
        case "swap":
            now[name].reverse()
        case "drop":
            del now[name]
        case "rename":
            now[name][at] = now[name][at].replace("name: p", "name: q").replace("name: k", "name: j")
    return _frozen(now)


def _frozen(files: Mapping[str, list[str]]) -> Files:
    return {name: tuple(texts) for name, texts in files.items()}


def written(files: Files) -> dict[str, bytes]:
    return {name: "---\n".join(texts).encode() for name, texts in files.items()}


def attempt(made: Builder, files: Files) -> Built | list[str]:
    try:
        return made.build(written(files), 7)
    except SnapshotRejected as rejected:
        return [str(fault) for fault in rejected.faults]


def shown(value: Any) -> object:
    """Return what a compiled thing says, for comparison: those are compared by identity."""
    if isinstance(value, Rule | LimitRule | Key):
        return [(each.name, shown(getattr(value, each.name))) for each in fields(value)]
    if hasattr(value, "source"):
        return value.source
    if isinstance(value, tuple) and type(value) is tuple:
        return [shown(each) for each in value]
    return repr(value)


def everything(made: Snapshot) -> list[object]:
    """Return all that can be asked of a snapshot."""
    said: list[object] = [
        made.revision,
        made.expiries_us,
        sorted(made.providers.items()),
        made.keyring.disabled,
    ]
    said += [shown(made.keyring.get(key.id)) for key in KEYS]
    said += [sorted(made.reading.owned), made.reading.time, made.reading.body]
    indexes = [made.index, *((made.shadow.policies, made.shadow.limited) if made.shadow is not None else ())]
    said.append(len(indexes))
    for host in HOSTS:
        said.append(repr(made.site(host)))
        for path in PATHS:
            asked = request(host=host, path=path)
            for index in indexes:
                view = index.view(host)
                found = [
                    (shown(one.rule), sorted(one.params.items())) for one in index.candidates(view, asked)
                ]
                said += [sorted(found, key=repr), sorted(view.providers)]
            candidates = made.index.candidates(made.index.view(host), asked)
            said.append(repr(evaluate(candidates, asked, NOBODY)))
    return said


def told(built: Built) -> list[object]:
    loaded = built.loaded
    return [
        sorted(f"{warning} {warning.code}" for warning in built.warnings),
        [
            (one.kind, one.name, str(one.place()), one.canonical, one.position, one.spec)
            for one in loaded.documents()
        ],
        *everything(built.snapshot),
    ]


# What may stand between two documents, or be taken for that.
PIECES = st.lists(
    st.one_of(
        TEXTS,
        st.sampled_from(
            [
                "---\n",
                "--- ",
                "---x\n",
                "...\n",
                "%YAML 1.2\n",
                "%TAG ! !a\n",
                "# c\n",
                "\n",
                "'\n",
                "[\n",
                "--- {a: 1}\n",
            ]
        ),
        st.sampled_from(
            ["a: &x 1\n", "b: *x\n", "c: !t 1\n", "- |2\n  ---\n", "--- |\n a\n", "\t\n", "---\r\n"]
        ),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_a_file_read_in_parts_says_what_it_says_in_one_go(pieces: list[str]) -> None:
    content = "".join(pieces).encode()
    with pytest.MonkeyPatch.context() as patched:
        parts = read_page("f.yaml", content)
        patched.setattr(reading, "_in_parts", _never)
        whole = read_page("f.yaml", content)
    assert shown_page(parts) == shown_page(whole)


def _never(*_: object) -> Page:
    raise reading._Whole


def shown_page(page: Page) -> list[object]:
    documents: list[Document[Model]] = [Document(leaf, page, at) for at, leaf in enumerate(page.leaves)]
    said = [
        (one.kind, one.name, one.position, str(one.place("spec", "hosts", 0)), one.data) for one in documents
    ]
    return [said, sorted(map(str, page.faults)), page.whole]


@settings(max_examples=60, deadline=None)
@given(EDITS, st.booleans())
def test_a_set_after_many_others_is_the_set_built_from_nothing(
    edits: list[tuple[str, int, str, str]],
    clustered: bool,
) -> None:
    around = replace(AROUND, clustered=clustered)
    made = Builder(around)
    files: Files = {"a.yaml": START}
    history: list[Files] = []
    served: list[tuple[Snapshot, list[object]]] = []
    for edit in edits:
        history.append(files)
        files = edited(files, history, edit)
        found, fresh = attempt(made, files), attempt(Builder(around), files)
        if isinstance(found, list) or isinstance(fresh, list):
            assert found == fresh
            continue
        assert told(found) == told(fresh)
        served.append((found.snapshot, everything(found.snapshot)))
    for snapshot, then in served:
        assert everything(snapshot) == then

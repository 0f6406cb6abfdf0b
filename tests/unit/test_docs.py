"""What people read is true: documents load, links lead somewhere, commands and files exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from authz.cli.main import build
from authz.config.settings import KEYS
from authz.identity.apikey import Token, parse_token
from authz.model.errors import SnapshotRejected
from authz.policy.kind_test import TestCase
from authz.rehearsal.testing.run import Stage
from authz.snapshot.build import Built, Surroundings
from authz.snapshot.build import build as build_snapshot
from authz.snapshot.overrides import OverridesBuilder
from authz.snapshot.parts import Files
from tests.support.decisions import Judge

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "authz/README.md",
        ROOT / "envoy/README.md",
    )
)
_FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^]\n]*\]\(([^)\s]+)\)")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _blocks(page: str, language: str) -> list[str]:
    return [match[2] for match in _FENCE.finditer(_text(page)) if match[1] == language]


def _documents(page: str) -> dict[str, bytes]:
    """Return the blocks of a page that are policy documents, named by their place on it."""
    kept = (block for block in _blocks(page, "yaml") if re.search(r"^kind:", block, re.MULTILINE))
    return {f"{page}#{number}": block.encode() for number, block in enumerate(kept, 1)}


IN_PARTS = ("docs/ownership.md",)  # its documents stand in several directories: test_ownership_page.py
WITH_DOCUMENTS = [page for page in PAGES if page not in IN_PARTS and _documents(page)]


def _built(page: str) -> Built:
    return build_snapshot(_documents(page), Surroundings(), loaded_at_us=0)


def test_the_pages_about_policies_have_documents() -> None:
    assert {"README.md", "docs/policies.md"} <= set(WITH_DOCUMENTS)


@pytest.mark.parametrize("page", WITH_DOCUMENTS)
def test_the_documents_of_a_page_are_a_set_without_warnings(page: str) -> None:
    assert [str(warning) for warning in _built(page).warnings] == []


def test_a_page_with_a_broken_document_would_be_noticed() -> None:
    files = {name: text.replace(b"effect:", b"efect:") for name, text in _documents("README.md").items()}
    with pytest.raises(SnapshotRejected, match="efect"):
        build_snapshot(files, Surroundings(), loaded_at_us=0)


def _cases() -> Iterator[tuple[str, TestCase]]:
    for page in WITH_DOCUMENTS:
        for document in _built(page).loaded.tests:
            yield from (
                (page, case) for case in document.spec.cases if not (case.credential or case.identity)
            )


@pytest.mark.parametrize(("page", "case"), list(_cases()), ids=lambda value: getattr(value, "name", value))
def test_a_case_of_a_page_without_credential_comes_out_as_the_page_says(page: str, case: TestCase) -> None:
    request, expect = case.request, case.expect
    answer = Judge(_built(page).snapshot).ask(
        request.path, method=request.method, host=request.host, headers=list(request.headers.items())
    )
    assert ("allow" if answer.allowed else "deny") == expect.outcome
    assert answer.reason == (expect.reason or "allowed")
    assert answer.status == (expect.status or 200)
    assert answer.rule == (f"{expect.policy}/{expect.rule}" if expect.rule else "")


@pytest.mark.parametrize("page", WITH_DOCUMENTS)
def test_the_policy_tests_of_a_page_pass(page: str) -> None:
    built = _built(page)
    results = Stage(built, lambda: 0).run(built.loaded.tests)
    assert [str(one) for result in results for one in result.differences] == []


def _targets(page: str) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", _text(page))):
        if not re.match(r"[a-z]+:", target):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_of_a_page_leads_to_something(page: str) -> None:
    folder = (ROOT / page).parent
    assert [target for target in _targets(page) if target and not (folder / target).exists()] == []


def _anchors(page: Path) -> set[str]:
    """Return what headings of a page are called in links, as GitHub makes it of them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_heading_leads_to_one(page: str) -> None:
    lost = []
    for target in _LINK.findall(_FENCE.sub("", _text(page))):
        file, hash_, anchor = target.partition("#")
        if hash_ and ":" not in file and (not file or file.endswith(".md")):
            there = (ROOT / page).parent / file if file else ROOT / page
            lost += [] if anchor in _anchors(there) else [target]
    assert lost == []


def test_every_page_is_in_the_index() -> None:
    listed = set(_targets("docs/README.md"))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= listed


def _commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every `authz ...` command in the shell blocks and code spans of a page."""
    text = (
        "\n".join(_blocks(page, "sh"))
        + "\n"
        + "\n".join(re.findall(r"`([^`\n]+)`", _FENCE.sub("", _text(page))))
    )
    for line in text.replace("\\\n", " ").splitlines():
        for match in re.finditer(r"(?:^|[\s(/])authz ([a-z].*?)(?:[|<>#)]|$)", line):
            yield match[1].split()


@pytest.mark.parametrize("page", [page for page in PAGES if any(_commands(page))])
def test_commands_and_flags_of_a_page_exist(page: str) -> None:
    root = typer.main.get_command(build([]))
    for words in _commands(page):
        command: Any = root
        while isinstance(command, TyperGroup) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        assert not (isinstance(command, TyperGroup) and words), (
            f"authz ... {words[0]}: there is no such command"
        )
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known, f"authz {command.name}: {sorted(used - known)}"


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_and_environment_names_of_a_page_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)\b(?=[` \n])", "\n".join(_code(page)))) <= targets
    names = {key.env for key in KEYS.values()} | {"AUTHZ_CONFIG"}
    assert set(re.findall(r"\bAUTHZ_[A-Z_]+[A-Z]\b", _text(page))) <= names


def _code(page: str) -> list[str]:
    return _blocks(page, "sh") + [f"`{span}`" for span in re.findall(r"`([^`\n]+)`", _text(page))]


def test_the_key_that_is_shown_has_a_right_checksum() -> None:
    shown = re.search(r"^ak_live_\S+$", _text("docs/keys.md"), re.MULTILINE)
    assert shown is not None
    assert isinstance(parse_token(shown[0], "ak", "live"), Token)


def test_the_map_is_short_enough_to_be_read() -> None:
    assert len(_text("authz/README.md").splitlines()) <= 120


def test_the_brake_of_the_page_for_the_night_can_be_pulled_as_it_is_printed() -> None:
    shell = "\n".join(_blocks("docs/operations.md", "sh"))
    written = re.search(r"<<'END'\n(.*?)\nEND\n", shell, re.DOTALL)
    assert written is not None
    built, faults = OverridesBuilder().build_lenient(Files({"stop.yaml": written[1].encode()}))
    assert (faults, list(built.warnings)) == ([], [])
    assert built.asked is not None
    assert ", ".join(built.asked.rules) in shell.partition("\nEND\n")[2].splitlines()[0]
    released = re.search(r"echo '(.*)' > /etc/authz/overrides/stop.yaml", shell)
    assert released is not None
    assert OverridesBuilder().build(Files({"stop.yaml": released[1].encode()})).asked is None


def test_what_the_security_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:tests|authz)/[a-z0-9_/.]+\.py)`", _text("SECURITY.md")))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []

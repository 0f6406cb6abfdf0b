from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli.policy import app
from authz.policy.lint.lint import CODES, MAX_WARNINGS, lint
from authz.policy.loaded import Loaded
from tests.support.documents import PER_KEY, PROVIDER, document, join, loaded, policy

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/warnings.md").read_text(encoding="utf-8")
READ = policy("effect: allow, identity: [keys]")


def test_every_code_has_a_chapter_in_the_order_of_the_code() -> None:
    assert re.findall(r"^## `([a-z-]+)`$", PAGE, re.MULTILINE) == list(CODES)


@pytest.mark.parametrize("code", CODES)
def test_a_chapter_says_first_what_the_code_says(code: str) -> None:
    chapter = PAGE.partition(f"## `{code}`\n\n")[2].partition("\n## ")[0]
    first = " ".join(chapter.partition("\n\n")[0].split())
    assert first == f"{CODES[code][:1].upper()}{CODES[code][1:]}."
    assert "**Mend:**" in chapter


def _examples(code: str) -> tuple[Loaded, Loaded]:
    """Return the two sets of a chapter: the one that is warned of, and the mended one."""
    chapter = PAGE.partition(f"## `{code}`\n\n")[2].partition("\n## ")[0]
    bad, good = re.findall(r"^```yml\n(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)
    return loaded(bad), loaded(good)


@pytest.mark.parametrize("code", CODES)
def test_the_first_example_of_a_chapter_is_warned_of_and_the_mended_one_is_not(code: str) -> None:
    bad, good = _examples(code)
    served = ["items.example.com"] if code == "host-not-served" else []
    assert code in {warning.code for warning in lint(bad, served=served)}
    assert code not in {warning.code for warning in lint(good, served=served)}


def test_every_warning_has_a_known_code_and_a_mend() -> None:
    for code in CODES:
        for warning in lint(_examples(code)[0], served=["items.example.com"]):
            assert warning.code in CODES
            assert re.search(r"[:;,?] ", warning.what), warning.what
            assert "\n" not in warning.what


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "policies/examples").iterdir()))
def test_the_examples_are_clean(folder: str) -> None:
    example = ROOT / "policies/examples" / folder
    named = example / "policies" if (example / "policies").is_dir() else example
    words = ["validate", "--strict", str(named)]
    for part in ("scopes", "overrides"):
        words += [f"--{part}", str(example / part)] if (example / part).is_dir() else []
    if folder == "emergency-override":
        words = words[:3]  # the brake is pulled there, so what it denies is out of reach: as it should be
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr) == (0, "")


def test_no_more_are_told_than_anybody_reads() -> None:
    rules = ", ".join(f"{{name: r{n}, effect: deny, methods: [GETT]}}" for n in range(2 * MAX_WARNINGS))
    many = document("Policy", "many", f"{{hosts: ['*'], rules: [{rules}]}}")
    assert len(lint(loaded(many))) == MAX_WARNINGS


def test_overrides_do_nothing_but_deny_and_have_no_tests() -> None:
    brake = loaded(policy("effect: deny"))
    assert lint(brake, overrides=True) == []
    assert {warning.code for warning in lint(brake)} == {"negative-only-policy", "no-tests"}


def test_a_warning_points_at_its_line() -> None:
    found = lint(loaded(PROVIDER, join(PER_KEY, READ)))
    assert [(one.code, one.place.line) for one in found] == [("unused-limit", 8), ("no-tests", 13)]


def test_an_access_that_can_fail_is_shown_as_it_should_be_written() -> None:
    when = """effect: allow, identity: [keys], when: 'request.headers["x-a"] == "b"'"""
    (what,) = (
        str(one) for one in lint(loaded(join(PROVIDER, policy(when)))) if one.code == "expression-can-fail"
    )
    assert what.endswith("write `request.headers[?'x-a'].orValue(...)`")

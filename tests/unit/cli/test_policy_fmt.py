from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli import keyfile
from authz.cli.policy import app
from tests.support.documents import key

VERSION = "apiVersion: policy.authz/v1alpha1\n"
UGLY = f"kind: Limit\n{VERSION}metadata: {{ name: l }}\nspec: {{rate: 1/s,  per: [client.network]}}\n"
FINE = f"{VERSION}kind: Limit\nmetadata: {{name: l}}\nspec: {{per: [client.network], rate: 1/s}}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("set/below").mkdir(parents=True)
    Path("set/below/a.yaml").write_text(UGLY)
    return tmp_path


def fmt(*words: str, text: str = "") -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["fmt", *words], input=text)
    return result.exit_code, result.stdout, result.stderr


def test_files_are_changed_in_place_and_named_and_the_second_time_nothing_is() -> None:
    path = Path("set/below/a.yaml")
    path.chmod(0o640)
    assert fmt("set") == (0, "set/below/a.yaml\n", "")
    assert path.read_text() == FINE
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = path.stat().st_ino
    assert fmt("set") == (0, "", "")
    assert path.stat().st_ino == before
    assert os.listdir("set/below") == ["a.yaml"]  # noqa: PTH208 - names that begin with a dot too


def test_check_changes_nothing_and_says_no() -> None:
    code, out, err = fmt("--check", "set")
    assert (code, out) == (1, "")
    assert err == "set/below/a.yaml: not formatted; run `authz policy fmt`\n"
    assert Path("set/below/a.yaml").read_text() == UGLY
    Path("set/below/a.yaml").write_text(FINE)
    assert fmt("--check", "set") == (0, "", "")


def test_diff_shows_what_would_change_and_changes_nothing() -> None:
    code, out, _ = fmt("--diff", "set")
    assert code == 0
    assert "-metadata: { name: l }\n" in out
    assert "+spec: {per: [client.network], rate: 1/s}\n" in out
    assert fmt("--diff", "--check", "set")[0] == 1
    assert Path("set/below/a.yaml").read_text() == UGLY


def test_standard_input_goes_to_standard_output() -> None:
    assert fmt("-", text=UGLY) == (0, FINE, "")
    assert fmt("-", "--check", text=UGLY)[0] == 1
    assert fmt("-", "--diff", text=UGLY)[1].startswith("--- <stdin>")
    code, out, err = fmt("-", text="a: [")
    assert (code, out, err.partition(": ")[0]) == (1, "", "<stdin>:2:1")
    assert fmt("-", "set", text=UGLY)[0] == 2


def test_a_file_with_faults_is_left_alone_and_named_and_the_others_are_formatted() -> None:
    Path("set/b.yaml").write_text("a: b\na: c\n")
    code, out, err = fmt("set")
    assert (code, out) == (1, "set/below/a.yaml\n")
    assert err.startswith("set/b.yaml:2:1: `a` stands twice")
    assert Path("set/b.yaml").read_text() == "a: b\na: c\n"


def test_links_inside_stay_links_and_links_out_are_refused() -> None:
    Path("set/link.yaml").symlink_to("below/a.yaml")
    assert fmt("set")[0] == 0
    assert Path("set/link.yaml").is_symlink()
    assert Path("set/below/a.yaml").read_text() == FINE
    Path("outside.yaml").write_text(UGLY)
    Path("set/out.yaml").symlink_to("../outside.yaml")
    result = CliRunner().invoke(app, ["fmt", "set"])
    assert "a link out of the directory" in str(result.exception)
    assert Path("outside.yaml").read_text() == UGLY


def test_what_is_hidden_or_no_policy_file_is_not_touched() -> None:
    Path("set/.hidden.yaml").write_text(UGLY)
    Path("set/readme.txt").write_text(UGLY)
    assert fmt("set")[1] == "set/below/a.yaml\n"
    assert Path("set/.hidden.yaml").read_text() == UGLY


def test_a_missing_path_and_an_unwritable_directory_are_named() -> None:
    assert "no such file" in str(CliRunner().invoke(app, ["fmt", "nowhere"]).exception)
    if os.getuid() != 0:
        Path("set/below").chmod(0o500)
        assert "nothing changed" in str(CliRunner().invoke(app, ["fmt", "set"]).exception)


def test_the_file_of_a_key_that_was_changed_is_in_this_form(here: Path) -> None:
    Path("k.yaml").write_text(key())
    text = keyfile.checked(dict(keyfile.read(Path("k.yaml")).data))  # type: ignore[arg-type]  # a mapping
    Path("k.yaml").write_text(text)
    assert fmt("--check", "k.yaml") == (0, "", "")


@pytest.mark.parametrize("flags", [[], ["--check"], ["--diff"]])
def test_no_terminal_obeys_the_name_of_a_file(flags: list[str]) -> None:
    odd = Path("set/n\x1b]0;t\x07\n::error::x.yaml")
    odd.write_text(UGLY)
    _, out, err = fmt("set", *flags)
    told = out + err
    assert "set/n\\x1b]0;t\\x07\\n::error::x.yaml" in told
    assert "\x1b" not in told
    assert not [line for line in told.splitlines() if line.startswith("::")]

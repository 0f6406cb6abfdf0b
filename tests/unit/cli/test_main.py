"""The command as people type it: what it prints, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from authz import __version__
from authz.cli import main as main_module
from authz.identity.apikey import new_token
from authz.model.errors import StoreUnavailable
from tests.support.command import run


def test_the_version_is_told() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"authz {__version__}\n", "")


def test_help_names_every_part_but_the_hidden_ones() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name, part in main_module._PARTS.items():
        assert (f"  {name} " in done.stdout) is not part.hidden


@pytest.mark.parametrize(
    "words", [["bogus"], ["serve", "--bogus"], ["policy", "bogus"], ["policy", "validate"], ["--bogus"]]
)
def test_a_wrong_command_line_is_2_and_names_the_word(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_a_valid_set_is_0_and_an_invalid_one_is_1(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    for directory, text in ((good, "hosts: ['*'], rules: [{name: r, effect: deny}]"), (bad, "hosts: []")):
        directory.mkdir()
        head = "apiVersion: policy.authz/v1alpha1\nkind: Policy\nmetadata: {name: p}\n"
        (directory / "p.yaml").write_text(f"{head}spec: {{{text}}}\n")
    assert run("policy", "validate", str(good)).returncode == 0
    done = run("policy", "validate", str(bad))
    assert done.returncode == 1
    assert f"{bad}/p.yaml:4:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "environ", "told"),
    [
        (["serve"], {}, "--policies"),
        (["serve", "--policies", ".", "--listen", "nowhere"], {}, "--listen"),
        (
            ["serve", "--policies", ".", "--listen", "0.0.0.0:9191", "--ops", "off", "--debug", "off"],
            {},
            "loopback",
        ),
        (["serve", "--policies", "."], {"API_KEY_SALT": "short"}, "API_KEY_SALT"),
        (["serve", "--policies", "."], {"AUTHZ_TYPO": "1"}, "AUTHZ_TYPO"),
        (["serve", "--policies", ".", "--config", "gone.toml"], {}, "gone.toml"),
    ],
)
def test_what_cannot_run_is_3_and_one_line(
    words: list[str], environ: dict[str, str], told: str, tmp_path: Path
) -> None:
    done = run(*words, cwd=tmp_path, **environ)
    assert done.returncode == 3
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("authz: ")
    assert told in last
    assert "Traceback" not in done.stderr
    assert "short" not in last or told != "API_KEY_SALT"


def test_only_the_part_that_is_asked_for_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['authz', 'serve', '--help']; from authz.cli.main import build;"
        "build(['serve', '--help']); "
        "print('envoy_data_plane' in sys.modules, 'authz.cli.demo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False False\n"


# --- in this process, where coverage sees it


def ended(words: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", ["authz", *words])
    with pytest.raises(SystemExit) as caught:
        main_module.main()
    return caught.value.code or 0


@pytest.mark.parametrize(
    ("words", "code"), [(["--version"], 0), (["--help"], 0), (["bogus"], 2), (["serve"], 3)]
)
def test_the_exit_code_is_that_of_the_answer(
    words: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert ended(words, monkeypatch) == code


def test_a_refusal_of_ours_that_is_no_setting_is_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(_: object) -> object:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(main_module, "build", build)
    assert ended([], monkeypatch) == 1
    assert capsys.readouterr().err == "authz: gone\n"


@pytest.mark.parametrize(
    "words", [["key", "verify", "{}"], ["key", "revoke", "{}"], ["serve", "--config={}"], ["{}"]]
)
def test_a_token_on_the_command_line_is_refused_and_not_repeated(words: list[str]) -> None:
    token = new_token("acme", "test").render()
    done = run(*(word.format(token) for word in words))
    assert done.returncode == 2
    assert "standard input" in done.stderr
    assert token not in done.stdout + done.stderr

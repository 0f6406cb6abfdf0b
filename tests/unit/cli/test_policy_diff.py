from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from authz.cli.policy import app
from authz.model.errors import ConfigError
from tests.support.documents import PROVIDER, join, policy

READ = policy("effect: allow, methods: [GET], identity: [keys]")
WRITE = policy("effect: allow, methods: [GET, PUT], identity: [keys]")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in (("old", READ), ("new", WRITE)):
        Path(name).mkdir()
        Path(name, "a.yaml").write_text(join(PROVIDER, text))
    return tmp_path


def diff(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["diff", *words])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_two_directories_are_compared_in_words() -> None:
    code, out, _ = diff("old", "new")
    assert code == 0
    assert out.splitlines()[:2] == [
        "Policy items",
        "  + read: GET on every path on items.example.com: now also `PUT`",
    ]
    assert out.splitlines()[-1].startswith("access is wider, revision ")
    assert diff("old", "new", "--exit-code")[0] == 1


def test_the_same_is_no_change_and_no_difference() -> None:
    code, out, _ = diff("old", "old", "--exit-code")
    assert code == 0
    assert out.startswith("no change of access, revision ")
    assert out.endswith(", as before\n")


def test_machines_and_pull_requests_get_theirs() -> None:
    told = json.loads(diff("old", "new", "--output", "json")[1])
    assert (told["effect"], told["same_access"]) == ("wider", False)
    assert told["changes"][0]["rule"] == "read"
    lines = diff("old", "new", "--output", "markdown")[1].splitlines()
    assert lines[0].startswith("### Policies: access is wider, revision ")
    assert lines[-1] == "- **wider**: read: GET on every path on items.example.com: now also `PUT`"


def test_a_comment_forms_nothing_of_what_an_author_writes() -> None:
    evil = "`x` [a](https://e.example) @team <img> \\u202e"
    Path("new/a.yaml").write_text(join(PROVIDER, READ.replace("{hosts", f"{{owner: '{evil[:-7]}', hosts")))
    out = diff("old", "new", "--output", "markdown")[1]
    assert "- owner: now `'x' [a](https://e.example) @team <img>" in out
    paths = policy('effect: allow, paths: ["/*/[x](y)"], identity: [keys]')
    Path("new/a.yaml").write_text(join(PROVIDER, paths.replace("name: read", "name: other")))
    assert r"/\*/\[x\]\(y\)" in diff("old", "new", "--output", "markdown")[1]


def test_a_comment_is_no_longer_than_it_may_be() -> None:
    many = [
        policy("effect: deny", name=f"p{number}", hosts=f"[{'a' * 60}.example.com]") for number in range(700)
    ]
    Path("new/a.yaml").write_text(join(PROVIDER, *many))
    out = diff("old", "new", "--output", "markdown")[1]
    assert len(out) < 65_536
    assert "There is more" in out


def test_an_invalid_set_cannot_be_compared() -> None:
    Path("new/a.yaml").write_text("a: [")
    code, out, err = diff("old", "new")
    assert (code, out) == (3, "")
    assert err.startswith("new/a.yaml:2:1: ")
    assert diff("old", "nowhere")[0] == 3


def test_two_directories_are_two() -> None:
    assert diff("old")[0] == 2
    assert diff("old", "new", "old")[0] == 2


def test_overrides_belong_to_either_side_or_to_both() -> None:
    for name, text in (("none", "# nothing\n"), ("brake", policy("effect: deny"))):
        Path(name).mkdir()
        Path(name, "o.yaml").write_text(text)
    out = diff("old", "old", "--overrides", "none", "--overrides", "brake")[1]
    assert out.startswith("Override items\n  - read: ")
    assert "no change of access" in diff("old", "old", "--overrides", "brake")[1]


def git(*words: str) -> None:
    settings = ["-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *words], check=True, capture_output=True)


@pytest.fixture
def repository(here: Path) -> Path:
    git("init", "-q", "-b", "main")
    Path("old/link.yaml").symlink_to("a.yaml")
    git("add", "old")
    git("commit", "-q", "-m", "one")
    Path("old/a.yaml").write_text(join(PROVIDER, WRITE))
    return here


def test_a_working_tree_is_compared_with_a_revision(repository: Path) -> None:
    assert "now also `PUT`" in diff("--git", "HEAD", "old")[1]
    git("commit", "-q", "-a", "-m", "two")
    assert diff("--git", "HEAD", "old", "--exit-code")[0] == 0
    assert "now also `PUT`" in diff("--git", "HEAD^..HEAD", "old")[1]
    assert "now also `PUT`" in diff("--git", "HEAD^..", "old")[1]
    assert "no longer `PUT`" in diff("--git", "HEAD..HEAD^", "old")[1]


def test_a_directory_that_was_not_there_yet_said_nothing(repository: Path) -> None:
    code, out, _ = diff("--git", "HEAD", "new")
    assert code == 0
    assert "read: GET PUT on every path on items.example.com: now allowed to keys" in out


@pytest.mark.parametrize("revision", ["nosuch", "--output=x", "HEAD^{tree}"])
def test_a_revision_that_is_none_is_told(repository: Path, revision: str) -> None:
    with pytest.raises(ConfigError, match="no revision of the repository"):
        diff(f"--git={revision}", "old")


def _hold(kind: str, content: bytes) -> str:
    words = ["git", "hash-object", "-t", kind, "-w", "--literally", "--stdin"]
    return subprocess.run(words, input=content, check=True, capture_output=True).stdout.decode().strip()


def _tree(*entries: tuple[str, str, str]) -> str:
    rows = [f"{mode} {name}".encode() + b"\0" + bytes.fromhex(held) for mode, name, held in entries]
    return _hold("tree", b"".join(rows))


@pytest.mark.parametrize("below", [[("100644", "pwn.yaml")], [("120000", "pwn.yaml")]])
def test_a_tree_cannot_write_where_a_link_of_it_leads(repository: Path, below: list[tuple[str, str]]) -> None:
    victim = repository / "victim"
    victim.mkdir()
    blob = _hold("blob", str(victim).encode())
    inner = _tree(*((mode, name, blob) for mode, name in below))
    root = _tree(("40000", "old", _tree(("120000", "a", blob), ("40000", "a", inner))))
    author = ["-c", "user.name=n", "-c", "user.email=n@example.com"]
    words = ["git", *author, "commit-tree", "-m", "x", root]
    commit = subprocess.run(words, check=True, capture_output=True).stdout.decode()
    with pytest.raises(ConfigError, match="repair the repository"):
        diff("--git", commit.strip(), "old")
    assert not list(victim.iterdir())


def test_what_a_repository_does_not_hold_is_told_and_no_command_of_its_own_fetches_it(
    repository: Path,
) -> None:
    blob = subprocess.run(["git", "rev-parse", "HEAD:old/a.yaml"], check=True, capture_output=True).stdout
    held = blob.decode().strip()
    (repository / ".git" / "objects" / held[:2] / held[2:]).unlink()
    git("config", "core.repositoryformatversion", "1")
    for name, value in {
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::sh -c touch% {repository}/ran",
        "protocol.ext.allow": "always",
    }.items():
        git("config", name, value)
    with pytest.raises(ConfigError, match=r"`a.yaml` is missing: see that all of it is fetched"):
        diff("--git", "HEAD", "old")
    assert not (repository / "ran").exists()


def test_a_file_that_is_far_too_large_is_not_taken_into_memory(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.cli.checkout._FILE_MAX_BYTES", 1024 * 1024)
    Path("old/large.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
    git("add", "old")
    git("commit", "-q", "-m", "large")
    code, _, err = diff("--git", "HEAD", "old")
    assert code == 3
    assert "large.yaml:1:1: more than 1048576 bytes in one file" in err


def test_without_a_repository_or_a_directory_it_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here))
    with pytest.raises(ConfigError, match="not in a Git repository"):
        diff("--git", "HEAD", "old")
    with pytest.raises(ConfigError, match="name one of the working tree"):
        diff("--git", "HEAD", "nowhere")
    monkeypatch.setenv("PATH", str(here))
    with pytest.raises(ConfigError, match="does not answer"):
        diff("--git", "HEAD", "old")

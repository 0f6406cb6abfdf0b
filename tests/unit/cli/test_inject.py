from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer import Typer
from typer.testing import CliRunner

from authz.cli.inject import command
from tests.support.injection import written

ASKS = """\
# a shop
apiVersion: v1
kind: Pod
metadata:
  name: shop
  labels: {sidecar.authz/inject: "true", app: shop}
  annotations: {sidecar.authz/hosts: a.b}
spec:
  containers: [{name: application, image: shop, args: [no, "010", 0644]}]
"""
OTHER = "---\napiVersion:   v1 # kept\nkind: ConfigMap\nmetadata: {name: x}\n"
SERVICE = "---\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: shop}, ports: [{port: 80}]}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.json").write_text(json.dumps(written()))
    return tmp_path


def inject(*words: str, text: str | bytes = "", template: str = "t.json") -> tuple[int, str, str]:
    app = Typer()
    app.command()(command)
    chosen = ["--template", template] if template else []
    result = CliRunner().invoke(app, [*words, *chosen], input=text)
    return result.exit_code, result.stdout, result.stderr


def test_what_asks_gets_the_sidecar_and_the_rest_is_written_as_it_stood() -> None:
    code, out, err = inject("-f", "-", text=ASKS + OTHER + SERVICE)
    assert (code, err) == (0, "")
    assert OTHER in out
    assert '    - no\n    - "010"\n    - 0644\n' in out
    assert "- name: authz-envoy\n" in out
    assert out.endswith("  ports:\n  - port: 80\n    targetPort: authz-http\n")
    assert inject("-f", "-", text=out) == (0, out, "")


def test_without_a_template_it_is_that_of_the_chart() -> None:
    code, out, _ = inject("-f", "-", text=ASKS, template="")
    assert code == 0
    assert "sidecar.authz/status:" in out
    assert "/etc/authz/policies" in out


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_template_may_stand_in_its_config_map(form: str) -> None:
    kept = {"kind": "ConfigMap", "data": {"injection.json": json.dumps(written())}}
    text = json.dumps(kept) if form == "json" else f"---\n# Source: x\n{yaml.safe_dump(kept)}"
    Path("map").write_text(text)
    assert inject("-f", "-", text=ASKS, template="map") == inject("-f", "-", text=ASKS)


def test_several_files_are_one_input() -> None:
    Path("a.yaml").write_text(SERVICE)
    Path("b.yaml").write_text(ASKS)
    code, out, _ = inject("-f", "a.yaml", "-f", "b.yaml")
    assert code == 0
    assert "targetPort: authz-http" in out


def test_json_is_written_where_it_is_wanted() -> None:
    code, out, _ = inject(
        "-f", "-", "-o", "json", text=json.dumps({"a": 1}) + ASKS.replace("# a shop", "\n---")
    )
    assert code == 0
    decoder = json.JSONDecoder()
    first, end = decoder.raw_decode(out)
    second, _ = decoder.raw_decode(out[end:].lstrip())
    assert first == {"a": 1}
    assert second["spec"]["containers"][0]["args"] == [False, "010", 420]


def test_check_writes_nothing_and_names_what_lacks_the_sidecar() -> None:
    code, out, err = inject("-f", "-", "--check", text=ASKS + OTHER + SERVICE)
    assert (code, out) == (1, "")
    assert err == (
        "authz: <stdin>: document 1, Pod `shop`: it asks for the sidecar and has none: run `authz inject`\n"
        "authz: <stdin>: document 3, Service `s`: it leads past the sidecar: run `authz inject`\n"
    )
    done = inject("-f", "-", text=ASKS + OTHER + SERVICE)[1]
    assert inject("-f", "-", "--check", text=done) == (0, "", "")


def test_where_one_is_turned_away_nothing_is_written() -> None:
    bad = ASKS.replace("sidecar.authz/hosts: a.b", "sidecar.authz/hosts: 7")
    code, out, err = inject("-f", "-", text=ASKS + "---\n" + bad)
    assert (code, out) == (1, "")
    assert err == (
        "authz: <stdin>: document 2, Pod `shop`: annotation `sidecar.authz/hosts` is no text: "
        "put `7` in quotes\n"
    )


def test_what_is_odd_is_told_and_done() -> None:
    odd = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, labels: {sidecar.authz/inject: 'true'}}\n"
    )
    code, out, err = inject("-f", "-", text=odd)
    assert (code, out) == (0, odd)
    assert "document 1, Deployment `d`: its pods get no sidecar" in err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["-f", "missing.yaml"], 3, "authz: missing.yaml: no such file or directory: name a file"),
        (["-f", "."], 3, "authz: .: is a directory: name a file"),
        (["-f", "-", "-f", "-"], 2, "standard input is named twice"),
        (["-f", "-", "-n", "a\nb"], 2, "`a\\nb` is no name of a namespace"),
        (["-f", "-", "-o", "toml"], 2, "toml"),
        ([], 2, "--file"),
    ],
)
def test_a_wrong_call_says_what_to_do(words: list[str], code: int, told: str) -> None:
    found, out, err = inject(*words)
    assert (found, out) == (code, "")
    assert told in err


def test_a_template_that_cannot_be_used_is_3() -> None:
    Path("t.json").write_text("{}")
    code, out, err = inject("-f", "-", text=ASKS)
    assert (code, out) == (3, "")
    assert err.startswith("authz: t.json: object missing required field `version`")


@pytest.mark.parametrize("text", [b"a: [", b"\xff", b"a: 1\na: 2", b"[" * 10_000, b"a: !!python/name:os x"])
def test_what_cannot_be_read_is_1_with_its_place(text: bytes) -> None:
    code, out, err = inject("-f", "-", text=text)
    assert (code, out) == (1, "")
    assert err.startswith("authz: <stdin>:")
    assert err.count("\n") == 1

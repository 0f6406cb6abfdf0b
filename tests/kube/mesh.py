"""What Istio makes of the chart: its own translation for the Envoy of one pod, kept as Envoy Gateway's is.

`istio/main.go` asks the code of istiod. It is built inside of a copy of that module, whose own go.sum pins
all that it needs, which takes five minutes. So the answer stands in `golden/istio.json`, beside a digest of
what was asked. Where a test says that the chart renders other things, `python -m tests.kube.mesh` asks anew.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.kube.cluster import Helm, run
from tests.kube.tools import CACHE, KUBERNETES
from tests.kube.translation import Made, digest

ISTIO = "v0.0.0-20260827124520-eed52ebb66ad"  # 1.31; the module has no tags
_HERE = Path(__file__).parent
_CHART = _HERE.parents[1] / "charts" / "authz"
_PROGRAM = CACHE / f"istio-translate-{ISTIO}" / "istio-translate"
_POD = ("items", "sidecar.authz/inject=true", "10.1.0.7")  # namespace, labels, address
KEPT = _HERE / "golden" / "istio.json"
VALUES = {
    "envoy": "istio",
    "namespaces": [_POD[0]],
    "sidecar": {"hosts": ["items.example.com"]},
    "istio": {"peerAuthentication": True, "bodyBytes": 1024},
}
_READ = ("ServiceEntry", "AuthorizationPolicy", "PeerAuthentication")
Question = tuple[str, str]  # objects, and the mesh's configuration


def rendered(helm: Helm) -> tuple[list[Made], str]:
    """Return what the chart renders, and what its notes say to the mesh, both as a cluster would get them."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "authz"
        shutil.copytree(_CHART, copy)
        (copy / "templates" / "notes.yaml").write_text('{{ include "authz.istio.mesh" . }}\n')
        words = ("-n", "authz-system", "-f", "-", "--kube-version", KUBERNETES)
        text = helm("template", "authz", str(copy), *words, given=yaml.safe_dump(VALUES)).out
    made = [one for one in yaml.safe_load_all(text) if one]
    (mesh,) = (one["meshConfig"] for one in made if "meshConfig" in one)
    return [one for one in made if "kind" in one], yaml.safe_dump(mesh)


def question(made: list[Made], mesh: str) -> Question:
    """Return what Istio is asked."""
    ours = [
        {**{key: one[key] for key in ("apiVersion", "kind", "spec")}, "metadata": _named(one["metadata"])}
        for one in made
        if one["kind"] in _READ
    ]
    scene = (_HERE / "golden" / "istio-scene.yaml").read_text(encoding="utf-8")
    return f"{scene}---\n{yaml.safe_dump_all(ours)}", mesh


def _named(metadata: Made) -> Made:
    return {key: metadata[key] for key in ("name", "namespace")}


def translated(asked: Question, program: str) -> Made:
    """Ask Istio; return what it tells the pod's Envoy: what takes requests, and the clusters by name.

    Raises:
        AssertionError: it could not make anything of it.
    """
    with TemporaryDirectory() as folder:
        objects, mesh, out = (Path(folder) / name for name in ("objects.yaml", "mesh.yaml", "out.json"))
        objects.write_text(asked[0], encoding="utf-8")
        mesh.write_text(asked[1], encoding="utf-8")
        said = run([program, str(objects), str(mesh), *_POD, str(out)])
        assert said.code == 0, said.text
        answer = json.loads(out.read_text(encoding="utf-8"))
    (inbound,) = (one for one in answer["listeners"] if one["name"] == "virtualInbound")
    chains = [one for one in inbound["filterChains"] if "8080" in one["name"]]
    clusters = {one["name"]: one for one in answer["clusters"]}
    wanted = [name for name in clusters if name.startswith(("inbound|", "outbound|9191|"))]
    return {"chains": chains, "clusters": [clusters[name] for name in sorted(wanted)]}


def both(asked: Question, program: str) -> Made:
    """Return what the pod's Envoy is told, and what a mesh would tell it that does not know the provider."""
    return {"known": translated(asked, program), "unknown": translated((asked[0], "{}\n"), program)}


def kept() -> Made:
    """Return what is kept: `asked`, a digest, `known` and `unknown`."""
    found: Any = json.loads(KEPT.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def asked_digest(asked: Question) -> str:
    """Return the digest under which an answer is kept."""
    return digest("\n---\n".join(asked))


def program() -> str:
    """Return the path of the translator; where it was not built the test is skipped, in CI, too."""
    if not _PROGRAM.is_file():
        pytest.skip("Istio's translator is not built: it takes minutes, by `python -m tests.kube.mesh`")
    return str(_PROGRAM)


def _build() -> None:
    said = run(["go", "mod", "download", "-json", f"istio.io/istio@{ISTIO}"])
    assert said.code == 0, said.text
    with _copied(Path(json.loads(said.out)["Dir"])) as copy:
        ours = copy / "pilot" / "cmd" / "istio-translate"
        ours.mkdir()
        shutil.copyfile(_HERE / "istio" / "main.go", ours / "main.go")
        _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        words = [
            "go",
            "build",
            "-trimpath",
            "-ldflags=-s -w",
            "-o",
            str(_PROGRAM),
            f"./{ours.relative_to(copy)}",
        ]
        subprocess.run(words, cwd=copy, env={**os.environ, "GOFLAGS": "-mod=readonly"}, check=True)


@contextmanager
def _copied(module: Path) -> Iterator[Path]:
    """Yield a copy of a module that may be written to."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "istio"
        shutil.copytree(module, copy, copy_function=shutil.copyfile)
        for path in (copy, *copy.rglob("*/")):
            path.chmod(0o755)
        yield copy


def main() -> None:
    """Build the translator where it is not there, ask anew, and keep the answer."""
    if not _PROGRAM.is_file():
        _build()
    with TemporaryDirectory() as folder:
        asked = question(*rendered(Helm("helm3", Path(folder))))
    answer = {"asked": asked_digest(asked), **both(asked, str(_PROGRAM))}
    KEPT.write_text(json.dumps(answer, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

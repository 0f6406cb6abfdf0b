"""The chart, rendered by Helm; `python -m tests.support.chart` writes the golden renders anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.kube.tools import TOOLS, tool

CHART = Path(__file__).parents[2] / "charts" / "authz"
CI = CHART / "ci"
HELMS = ("helm3", "helm4")
VARIANTS = tuple(sorted(path.name.removesuffix("-values.yaml") for path in CI.glob("*-values.yaml")))
NEW_ENOUGH = "1.37.0"
_FILE_MIN_CHARS = 4000  # a longer text that is a file of the chart stands in golden renders by its name

Object = dict[str, Any]


def helm(key: str) -> Path | None:
    """Where that Helm is, or None."""
    path = TOOLS[key].path(key)
    return path if path.is_file() else None


def needed() -> None:
    """Skip the test where a Helm is missing, but never in CI."""
    for key in HELMS:
        tool(key)


def run(key: str, *words: str, given: Mapping[str, Any] | None = None) -> tuple[int, str, str]:
    """Run a Helm that knows no cluster, with `given` as values; return its exit code and what it said."""
    path = helm(key)
    if path is None:
        raise FileNotFoundError(f"{key}: run `python -m tests.kube.tools {key}`")
    values = ["--values=-"] if given is not None else []
    done = subprocess.run(
        [str(path), *words, *values],
        input=json.dumps(given) if given is not None else "",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    return done.returncode, done.stdout, done.stderr


def template(
    key: str, *words: str, given: Mapping[str, Any] | None = None, version: str = NEW_ENOUGH
) -> tuple[int, str, str]:
    """Render the chart for a cluster of that version."""
    where = ("--namespace=authz-system", f"--kube-version={version}")
    return run(key, "template", "authz", str(CHART), *where, *words, given=given)


def values_of(variant: str) -> str:
    """Return the flag for a variant's values."""
    return f"--values={CI / f'{variant}-values.yaml'}"


def objects(text: str) -> list[Object]:
    """Return the objects of a render, in an order of our own: Helm's versions have different ones."""
    found = [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]
    return sorted(found, key=_order)


def _order(made: Object) -> tuple[str, str, str]:
    return made["kind"], made["metadata"].get("namespace", ""), made["metadata"]["name"]


def golden(text: str) -> str:
    """Return a render as it is kept: sorted, JSON inside of it opened, files of the chart by name."""
    return yaml.dump_all(
        [_opened(each) for each in objects(text)],
        Dumper=yaml.CSafeDumper,
        sort_keys=False,
        width=110,
        allow_unicode=True,
    )


def _opened(made: Object) -> Object:
    if made["kind"] != "ConfigMap":
        return made
    files = {name: _told(name, text) for name, text in made["data"].items()}
    return {**made, "data": files}


def _told(name: str, text: str) -> object:
    if len(text) > _FILE_MIN_CHARS and name.startswith("authz-"):
        return f"(files/dashboards/{name.removeprefix('authz-')})"
    return json.loads(text) if name.endswith(".json") else text


def main(helms: Sequence[str] = HELMS) -> None:
    """Write every golden render, with the first Helm that is here."""
    key = next(key for key in helms if helm(key))
    for variant in VARIANTS:
        code, out, err = template(key, values_of(variant))
        if code:
            raise SystemExit(f"{variant}: {err}")
        path = CI / f"{variant}-render.yaml"
        path.write_text(golden(out), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()

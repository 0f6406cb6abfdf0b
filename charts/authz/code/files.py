"""Which files of the chart are written by code, and what stands in each."""

from __future__ import annotations

from pathlib import Path

from authz.config.settings import KEYS
from charts.authz.code.schema import schema
from charts.authz.code.table import readme
from charts.authz.code.values import rows

CHART = "charts/authz"
_MONITORING = "charts/monitoring"
_COPY = "# A copy of {source}: change it there, then `make schema`. Helm reads files of the chart alone.\n"


def files(root: Path) -> dict[str, str]:
    """Return each file's path below the project's root, and what stands in it."""
    values = rows((root / CHART / "values.yaml").read_text(encoding="utf-8"))
    table = readme((root / CHART / "README.md").read_text(encoding="utf-8"), values)
    made = {f"{CHART}/values.schema.json": schema(values), f"{CHART}/README.md": table}
    return made | _settings() | _rules(root) | _dashboards(root)


def _settings() -> dict[str, str]:
    """Return the names that `sidecar.settings` may have: one that is misspelled would end every sidecar."""
    names = sorted(key.env for key in KEYS.values() if not key.secret)
    return {f"{CHART}/files/settings.txt": "".join(f"{name}\n" for name in names)}


def _rules(root: Path) -> dict[str, str]:
    made = {}
    for name in ("rules.yaml", "alerts.yaml"):
        source = f"{_MONITORING}/{name}"
        text = (root / source).read_text(encoding="utf-8")
        made[f"{CHART}/files/{name}"] = _COPY.format(source=source) + text
    return made


def _dashboards(root: Path) -> dict[str, str]:
    found = sorted((root / _MONITORING / "dashboards").glob("*.json"))
    return {f"{CHART}/files/dashboards/{path.name}": path.read_text(encoding="utf-8") for path in found}

"""`authz/injection/default.json`: what the chart renders with default values, for `authz inject` alone.

`python -m tests.support.default_template` writes it; `python -m tests.kube.tools helm4` builds its Helm.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import yaml

from tests.kube.cluster import Helm

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "authz" / "injection" / "default.json"
_CHART = ROOT / "charts" / "authz"
_RELEASE = "authz"  # the name that the documentation gives it; names of ConfigMaps begin with it


def rendered(home: Path) -> str:
    """Return the template as the chart renders it with default values.

    Args:
        home: where Helm may keep what it likes.
    """
    words = ("template", _RELEASE, str(_CHART), "--show-only=templates/injection.yaml")
    stored = yaml.safe_load(Helm("helm4", home)(*words, "--kube-version=1.37.2").out)
    return json.dumps(json.loads(stored["data"]["injection.json"]), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        KEPT.write_text(rendered(Path(folder)))

"""`python -m charts.authz.code`: writes what of the chart is generated, from the project's root."""

from __future__ import annotations

import sys
from pathlib import Path

from charts.authz.code.files import files


def main(root: Path) -> None:
    """Write every file below the project's root."""
    for name, content in files(root).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main(Path())

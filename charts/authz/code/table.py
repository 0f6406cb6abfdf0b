"""The table of values in the chart's README.md."""

from __future__ import annotations

import json
from collections.abc import Sequence

from charts.authz.code.values import Plain, Row

BEGIN = "<!-- Written by `make schema` from values.yaml. Change it there. -->"
END = "<!-- Until here. -->"


def readme(text: str, rows: Sequence[Row]) -> str:
    """Return README.md with the table between its two marks renewed."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{_table(rows)}\n{END}{after}"


def _table(rows: Sequence[Row]) -> str:
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{row.place}` | {_shown(row.default)} | {_cell(row.meaning)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _shown(default: Plain) -> str:
    if default == "":
        return ""
    text = default if isinstance(default, str) else json.dumps(default)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

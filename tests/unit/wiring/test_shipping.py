"""The parent of the process that ships records: it starts, hears, starts anew, and ends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from authz.config.settings import load
from authz.model.errors import ConfigError
from authz.wiring import shipping as shipping_module
from authz.wiring.shipping import Shipping, errand_of
from authz.wiring.supported import require_supported
from tests.support.proxy import eventually
from tests.support.sets import events

Start = Callable[[str], Shipping]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Return what makes the parent of a process that behaves so."""
    monkeypatch.setattr(shipping_module, "_MODULE", "tests.support.odd_shipper")
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("AUTHZ_RECORD_HTTP_TOKEN", "CANARY")
    monkeypatch.setenv("API_KEY_SALT", "CANARY")

    def made(way: str) -> Shipping:
        monkeypatch.setenv("PYTHON_ODD", way)
        environ = {
            "AUTHZ_RECORD_SINK": "https://collector/",
            "AUTHZ_RECORD_SPOOL": str(tmp_path / "spool"),
            "AUTHZ_RECORD_SPOOL_BYTES": "1234567",
            "AUTHZ_RECORD_DRAIN_S": "3",
            "AUTHZ_RECORD_HTTP_TOKEN": "CANARY",
        }
        shipping = Shipping(load({"policies": [tmp_path]}, environ))
        shipping.start()
        return shipping

    return made


def number(shipping: Shipping, metric: str) -> float:
    return sum(value for _, value in shipping.samples().get(metric, ()))


def test_it_is_told_by_a_socket_alone_heard_and_ended(tmp_path: Path, start: Start) -> None:
    shipping = start(f"tell {tmp_path}/told")
    assert eventually(lambda: number(shipping, "authz_shipper_up") == 1)
    assert eventually(lambda: number(shipping, "authz_spool_streams") == 1234567)  # as its settings say
    assert shipping.about() == {"records": "http: it answers 503"}
    shipping.reopen()
    shipping.close()
    told = (tmp_path / "told").read_text()
    assert told.startswith("reopen\ndrain\n{}")  # nothing of our environment is a secret
    assert "CANARY" not in told
    assert number(shipping, "authz_shipper_up") == 0
    assert number(shipping, "authz_shipper_restarts_total") == 0


def test_one_that_ends_is_started_anew_and_waits_longer_each_time(start: Start) -> None:
    with capture_logs() as logs:
        shipping = start("die")
        assert eventually(lambda: number(shipping, "authz_shipper_restarts_total") >= 3)
        shipping.close()
    told = events(logs, "the process that ships records ended and is started anew")
    assert [log["restart_in_s"] for log in told][:3] == [0.0, 0.5, 1.0]
    assert told[0]["how"].startswith(("exit code ", "signal "))
    assert "none is shipped" in shipping.about()["records"]


def test_one_that_cannot_work_says_why(start: Start) -> None:
    with capture_logs() as logs:
        shipping = start("cannot")
        assert eventually(lambda: bool(events(logs, "records cannot be shipped")))
        shipping.close()
    assert events(logs, "records cannot be shipped")[0]["why"] == "there is no such sink"


def test_one_that_says_nothing_is_ended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping_module, "_SILENT_S", 0.5)
    shipping = start("mute")
    assert eventually(lambda: number(shipping, "authz_shipper_restarts_total") >= 1)
    shipping.close()


def test_one_that_does_not_end_in_time_is_killed_and_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipping_module, "_MARGIN_S", -2.5)
    with capture_logs() as logs:
        shipping = start("mute")
        assert eventually(lambda: shipping._child is not None)
        shipping.close()
    assert events(logs, "records were not shipped in time")


def test_secrets_are_in_the_errand_and_in_no_text_of_it(tmp_path: Path) -> None:
    names = ("HTTP_TOKEN", "REDIS_PASSWORD", "KAFKA_PASSWORD")
    environ = {f"AUTHZ_RECORD_{name}": f"CANARY-{name}" for name in names} | {"AUTHZ_RECORD_KAFKA_USER": "u"}
    errand = errand_of(load({"policies": [tmp_path]}, environ), tmp_path)
    access = errand.access
    assert (access.http_token, access.redis_password, access.kafka_password) == (
        "CANARY-HTTP_TOKEN",
        "CANARY-REDIS_PASSWORD",
        "CANARY-KAFKA_PASSWORD",
    )
    assert "CANARY" not in f"{errand!r} {errand}"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AUTHZ_RECORD_SINK": "file:/nowhere/at/all,stdout"}, "there is no directory /nowhere/at"),
        ({"AUTHZ_RECORD_CHAIN_KEY": "/nowhere.pem"}, "record_chain_key: `/nowhere.pem`"),
        ({"AUTHZ_RECORD_CA": "/nowhere.pem"}, "record_ca: `/nowhere.pem`: no such file or directory; name a"),
        ({"AUTHZ_RECORD_SPOOL": "/nowhere/at/all"}, "record_spool: `/nowhere/at/all`: no such file"),
    ],
)
def test_what_could_never_be_shipped_stops_the_start(
    tmp_path: Path, environ: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        require_supported(load({"policies": [tmp_path]}, environ))


def test_a_directory_of_others_is_not_closed_to_them_to_be_a_spool(tmp_path: Path) -> None:
    spool = tmp_path / "shared"
    spool.mkdir()
    spool.chmod(0o755)
    (spool / "theirs").touch()
    with pytest.raises(ConfigError, match=r"record_spool: .*others can enter it, and it holds what is of no"):
        require_supported(load({"policies": [tmp_path]}, {"AUTHZ_RECORD_SPOOL": str(spool)}))
    assert spool.stat().st_mode & 0o777 == 0o755


def test_an_empty_directory_becomes_a_spool(tmp_path: Path) -> None:
    spool = tmp_path / "made"
    spool.mkdir()
    spool.chmod(0o755)
    require_supported(load({"policies": [tmp_path]}, {"AUTHZ_RECORD_SPOOL": str(spool)}))
    assert spool.stat().st_mode & 0o777 == 0o700


def test_a_sink_whose_extra_is_not_installed_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authz.wiring.supported.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the extra `kafka`; install `authz\[kafka\]`"):
        require_supported(load({"policies": [tmp_path]}, {"AUTHZ_RECORD_SINK": "kafka://a:1/t"}))

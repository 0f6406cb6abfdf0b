from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from authz.model.sink import parse_sink
from authz.shipping.errand import Access
from authz.shipping.kafka_client import WORDS_MAX, Said, Trouble, configuration, error_of, words_of


def settings(text: str, access: Access = Access()) -> dict[str, object]:  # noqa: B008 - a frozen value
    return configuration(parse_sink(text), access, Trouble("kafka"))


def test_all_replicas_confirm_and_retries_keep_the_order() -> None:
    found = settings("kafka://a,[::1]:9/t", Access(timeout_s=2.5))
    assert found["bootstrap.servers"] == "a:9092,[::1]:9"
    assert (found["acks"], found["enable.idempotence"], found["compression.type"]) == ("all", True, "zstd")
    assert found["message.timeout.ms"] == 2500


@pytest.mark.parametrize(
    ("scheme", "user", "protocol"),
    [
        ("kafka", "", "PLAINTEXT"),
        ("kafka+tls", "", "SSL"),
        ("kafka", "u", "SASL_PLAINTEXT"),
        ("kafka+tls", "u", "SASL_SSL"),
    ],
)
def test_the_scheme_and_a_user_decide_how_brokers_are_spoken_to(
    scheme: str, user: str, protocol: str
) -> None:
    found = settings(f"{scheme}://a/t", Access(kafka_user=user, kafka_password=user))
    assert found["security.protocol"] == protocol
    assert found.get("sasl.mechanism") == ("SCRAM-SHA-512" if user else None)


def test_over_tls_a_certificate_must_name_the_broker() -> None:
    found = settings("kafka+tls://a/t", Access(ca=Path("/ca"), cert=Path("/cert"), key=Path("/key")))
    assert found["ssl.endpoint.identification.algorithm"] == "https"
    names = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
    assert [found[name] for name in names] == ["/ca", "/cert", "/key"]


def test_why_brokers_are_down_is_told_before_that_they_are() -> None:
    trouble = Trouble("kafka")
    down, why = KafkaError(KafkaError._ALL_BROKERS_DOWN), KafkaError(KafkaError._TRANSPORT)
    for error, hopeless in ((why, False), (down, True)):
        trouble.note(error)
        assert trouble.hopeless is hopeless
    assert trouble.cause == why


def test_what_is_forgotten_is_not_told_of_the_next_batch() -> None:
    trouble = Trouble("kafka")
    trouble.note(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    trouble.forget()
    assert (trouble.cause, trouble.hopeless) == (None, False)


def test_the_librarys_log_is_a_line_in_ten_seconds() -> None:
    times = iter([100.0, 100.0, 109.9, 110.0])
    said = Said("kafka-2", lambda: next(times))
    with capture_logs() as logs:
        said.log(3, "%s [%s] %s", "FAIL", "authz#producer-1", "broker \x1b[31m said\nso")
        said.log(3, "%s", "again")
        said.log(3, "%s", "again")
        said.log(3, "100%")
    assert [(one["sink"], one["line"], one["omitted"]) for one in logs] == [
        ("kafka-2", "FAIL [authz#producer-1] broker \\x1b[31m said\\nso", 0),
        ("kafka-2", "100%", 2),
    ]


def test_words_of_others_are_one_bounded_line() -> None:
    assert words_of("Local: Unknown topic") == "Unknown topic"
    assert words_of("a: refused (after 0ms in state CONNECT)") == "a: refused"
    assert words_of("\u2028\r\n") == "\\u2028\\r\\n"
    assert len(words_of("\x00" * 5000)) == WORDS_MAX


def test_an_exception_carries_an_error_or_none() -> None:
    error = KafkaError(KafkaError._SSL)
    assert error_of(KafkaException(error)) == error
    assert error_of(BufferError("full")) is None
    assert error_of(KafkaException()) is None

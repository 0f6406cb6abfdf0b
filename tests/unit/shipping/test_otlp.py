"""OTLP over gRPC and HTTP, against a real receiver: what arrives, and what its answers mean."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from authz.model.sink import parse_sink
from authz.shipping.delivery import Refused, Unavailable
from authz.shipping.errand import Access
from authz.shipping.exporter import Kind
from authz.shipping.otlp import OtlpClient
from tests.support.certificates import Authority
from tests.support.otlp_receiver import Answer, Receiver, otlp_receiver

TOKEN = "token-of-this-sidecar"
SERVER_WORDS = "what the server says\x1b[2J"
PATIENCE_S = 20.0


def _logs(text: str = "x") -> bytes:
    message = ExportLogsServiceRequest()
    message.resource_logs.add().scope_logs.add().log_records.add().body.string_value = text
    data: bytes = message.SerializeToString()
    return data


def _traces() -> bytes:
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add().name = "a span"
    data: bytes = message.SerializeToString()
    return data


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    server.clear()
    return server


@pytest.fixture(params=["grpc", "http"])
def url(request: pytest.FixtureRequest, receiver: Receiver) -> str:
    return receiver.grpc_url if request.param == "grpc" else receiver.http_url


def _client(url: str, kind: Kind = "logs", token: str = TOKEN, timeout_s: float = PATIENCE_S) -> OtlpClient:
    return OtlpClient(parse_sink(url), Access(timeout_s=timeout_s, http_token=token), kind)


def _export(url: str, payload: bytes | None = None) -> bytes:
    client = _client(url)
    try:
        return client.export(_logs() if payload is None else payload)
    finally:
        client.close()


# --- what arrives


def test_logs_arrive_as_they_were_sent_and_say_whose_they_are(url: str, receiver: Receiver) -> None:
    client = _client(url)
    for text in ("one", "two"):
        assert client.export(_logs(text)) == b""
    client.close()
    assert [record.body.string_value for record in receiver.log_records()] == ["one", "two"]
    assert {request.metadata["authorization"] for request in receiver.requests()} == {f"Bearer {TOKEN}"}


def test_spans_arrive_at_a_service_of_their_own(url: str, receiver: Receiver) -> None:
    client = _client(url, "traces")
    client.export(_traces())
    client.close()
    assert [span.name for span in receiver.spans()] == ["a span"]


def test_without_a_token_none_is_shown(url: str, receiver: Receiver) -> None:
    client = _client(url, token="")
    client.export(_logs())
    client.close()
    assert "authorization" not in receiver.requests()[0].metadata


def test_a_token_that_is_none_is_not_sent(url: str, receiver: Receiver) -> None:
    client = _client(url, token="a\r\nb")
    with pytest.raises(Unavailable, match="`record_http_token` holds what no header may"):
        client.export(_logs())
    client.close()
    assert receiver.requests() == []


def test_what_was_answered_is_handed_over(url: str, receiver: Receiver) -> None:
    receiver.answer(Answer(rejected=2))
    assert _export(url) == b"\n\x02\x08\x02"


def test_a_path_of_its_own_is_asked(receiver: Receiver) -> None:
    with pytest.raises(Unavailable, match="answers 404; look at the path of the sink"):
        _export(f"{receiver.http_url}/elsewhere/v1/logs")
    assert _export(f"{receiver.http_url}/v1/logs") == b""


def test_no_proxy_of_the_environment_is_asked(
    url: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    _export(url)
    assert len(receiver.requests()) == 1


def test_nothing_connects_before_there_is_something_to_send() -> None:
    for url in ("otlp://127.0.0.1:1", "otlp+http://127.0.0.1:1"):
        _client(url).close()


def test_after_it_was_closed_it_connects_again(url: str, receiver: Receiver) -> None:
    client = _client(url)
    for _ in range(2):
        client.export(_logs())
        client.close()
    assert len(receiver.requests()) == 2


def test_a_request_larger_than_a_message_usually_is_arrives(url: str, receiver: Receiver) -> None:
    _export(url, _logs("x" * 8_000_000))
    assert len(receiver.log_records()[0].body.string_value) == 8_000_000


# --- what answers mean

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Refused,
    **{
        code: Unavailable
        for code in grpc.StatusCode
        if code.name not in ("OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
    },
}


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
def test_each_code_of_grpc_means_one_thing(receiver: Receiver, code: grpc.StatusCode) -> None:
    receiver.answer(Answer(code=code, details=SERVER_WORDS + TOKEN))
    with pytest.raises(CODES[code]) as told:
        _export(receiver.grpc_url)
    said = str(told.value)
    assert said.startswith(f"127.0.0.1:{receiver.grpc_port} answers {code.name}")
    assert TOKEN not in said
    assert "what the server says" not in said
    assert len(receiver.requests()) == 1  # the library tries nothing again by itself


@pytest.mark.parametrize(
    ("retry_s", "understood_s"), [(0.0, 0.0), (0.25, 0.25), (7.0, 7.0), (86_400.0, 60.0), (-3.0, 0.0)]
)
def test_a_server_without_room_says_when_to_come_back(
    receiver: Receiver, retry_s: float, understood_s: float
) -> None:
    receiver.answer(Answer(code=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_s=retry_s))
    with pytest.raises(Unavailable, match="RESOURCE_EXHAUSTED") as told:
        _export(receiver.grpc_url)
    assert told.value.retry_s == understood_s


def test_a_server_that_is_away_may_say_for_how_long(url: str, receiver: Receiver) -> None:
    receiver.answer(Answer(code=grpc.StatusCode.UNAVAILABLE, http=503, retry_s=7.0))
    with pytest.raises(Unavailable) as told:
        _export(url)
    assert told.value.retry_s == 7.0


@pytest.mark.parametrize(
    "details",
    [b"\xff\xff", b"", status_pb2.Status(code=8).SerializeToString(), b"\x1a\x02\x12\x00"],
    ids=["garbage", "nothing", "no details", "another detail"],
)
def test_details_that_are_none_say_nothing(details: bytes) -> None:
    from authz.shipping.otlp_grpc import judged

    class Error(grpc.RpcError):  # type: ignore[misc]  # the library has no types
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.RESOURCE_EXHAUSTED

        def details(self) -> str | None:
            return None

        def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
            return (("grpc-status-details-bin", details),)

    assert isinstance(judged(Error(), "here"), Refused)


def test_a_detail_of_another_kind_is_passed_over() -> None:
    from authz.shipping.otlp_grpc import _delay_s

    status = status_pb2.Status(code=8)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="why"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 3
    status.details.add().Pack(retry)
    assert _delay_s(status.SerializeToString()) == 3.0


def test_a_sink_that_was_away_takes_what_comes_next(url: str, receiver: Receiver) -> None:
    client = _client(url)
    receiver.answer(Answer(code=grpc.StatusCode.UNAVAILABLE, http=503))
    with pytest.raises(Unavailable):
        client.export(_logs())
    receiver.answer(Answer())
    client.export(_logs())
    client.close()


def test_a_server_that_says_nothing_is_an_outage_by_the_deadline(url: str, receiver: Receiver) -> None:
    receiver.answer(Answer(delay_s=1.5))
    client = _client(url, timeout_s=0.3)
    with pytest.raises(Unavailable, match=r"answer in time$"):
        client.export(_logs())
    client.close()


def test_an_answer_larger_than_anybody_reads_is_no_refusal_of_ours(receiver: Receiver) -> None:
    receiver.answer(Answer(rejected=1, details="x" * 100_000))
    with pytest.raises(Unavailable, match="an answer without end"):
        _export(receiver.grpc_url)


@pytest.mark.parametrize("scheme", ["otlp", "otlp+http"])
def test_a_port_where_nobody_listens_is_an_outage_in_our_words(scheme: str) -> None:
    with pytest.raises(Unavailable, match=r"^127\.0\.0\.1:1( answers UNAVAILABLE)?: connection refused$"):
        _export(f"{scheme}://127.0.0.1:1")


def test_a_name_that_nobody_knows_is_an_outage_in_our_words() -> None:
    with pytest.raises(Unavailable, match=r"answers (UNAVAILABLE: its name is not known|DEADLINE.*)$"):
        _export("otlp://nowhere.invalid:4317")


# --- TLS


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Receiver, Authority, Path]]:
    home, ca = tmp_path_factory.mktemp("otlp"), Authority()
    cert, key = ca.server().written(home, "server")
    with otlp_receiver((cert, key, ca.written(home))) as receiver:
        yield receiver, ca, home


def _over_tls(receiver: Receiver, access: Access, host: str = "127.0.0.1") -> bytes:
    client = OtlpClient(parse_sink(f"otlp+tls://{host}:{receiver.grpc_port}"), access, "logs")
    try:
        return client.export(_logs())
    finally:
        client.close()


def test_over_tls_both_sides_prove_who_they_are(secured: tuple[Receiver, Authority, Path]) -> None:
    receiver, ca, home = secured
    cert, key = ca.vouch("spiffe://prod/x").written(home, "client")
    access = Access(timeout_s=PATIENCE_S, ca=ca.written(home), cert=cert, key=key)
    assert _over_tls(receiver, access) == b""
    assert _over_tls(receiver, access, "localhost") == b""


def test_a_server_that_another_ca_vouches_for_learns_nothing(
    secured: tuple[Receiver, Authority, Path],
) -> None:
    receiver, _, home = secured
    receiver.clear()
    other = Authority("another CA").written(home, "other")
    with pytest.raises(Unavailable, match=r"UNAVAILABLE: its certificate is not to be trusted$"):
        _over_tls(receiver, Access(timeout_s=PATIENCE_S, ca=other))
    assert receiver.requests() == []


def test_a_ca_that_is_replaced_is_trusted_without_a_restart(
    secured: tuple[Receiver, Authority, Path],
) -> None:
    receiver, ca, home = secured
    cert, key = ca.vouch("spiffe://prod/x").written(home, "client")
    path = Authority("an old CA").written(home, "replaced")
    access = Access(timeout_s=PATIENCE_S, ca=path, cert=cert, key=key)
    client = OtlpClient(parse_sink(f"otlp+tls://127.0.0.1:{receiver.grpc_port}"), access)
    with pytest.raises(Unavailable, match="not to be trusted"):
        client.export(_logs())
    path.write_bytes(ca.cert)
    client.export(_logs())
    client.close()


def test_who_shows_no_certificate_where_one_is_asked_for_is_turned_away(
    secured: tuple[Receiver, Authority, Path],
) -> None:
    receiver, ca, home = secured
    with pytest.raises(Unavailable, match="UNAVAILABLE"):
        _over_tls(receiver, Access(timeout_s=PATIENCE_S, ca=ca.written(home)))


def test_files_that_cannot_be_used_are_an_outage_that_says_so(tmp_path: Path) -> None:
    access = Access(ca=tmp_path / "none")
    client = OtlpClient(parse_sink("otlp+tls://127.0.0.1:1"), access)
    with pytest.raises(Unavailable, match="no such file or directory"):
        client.export(_logs())


# --- what is loaded


def test_over_http_the_library_for_grpc_is_not_loaded() -> None:
    code = (
        "import sys; from authz.shipping.otlp import OtlpClient; from authz.model.sink import parse_sink;"
        "from authz.shipping.errand import Access;"
        "OtlpClient(parse_sink('otlp+http://127.0.0.1:1'), Access()); print('grpc' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=os.environ
    )
    assert ran.stdout == "False\n"

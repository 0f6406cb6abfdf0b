"""Where records go, as people write it."""

from __future__ import annotations

import pytest

from authz.model.errors import ConfigError
from authz.model.sink import SinkKind, parse_sink, parse_sinks


@pytest.mark.parametrize(
    ("text", "kind", "servers", "target"),
    [
        ("stdout", SinkKind.STDOUT, (), ""),
        ("file:/var/log/a b,c.jsonl", SinkKind.FILE, (), "/var/log/a b,c.jsonl"),
        ("http://collector/in?x=1", SinkKind.HTTP, (("collector", 80),), "/in?x=1"),
        ("https://[2001:db8::1]:8443", SinkKind.HTTP, (("2001:db8::1", 8443),), ""),
        ("otlp://collector", SinkKind.OTLP, (("collector", 4317),), ""),
        ("otlp+https://collector/v1/logs", SinkKind.OTLP, (("collector", 4318),), "/v1/logs"),
        ("redis://r:7000/3/authz:records", SinkKind.REDIS, (("r", 7000),), "authz:records"),
        ("kafka://a,b:9/decisions", SinkKind.KAFKA, (("a", 9092), ("b", 9)), "decisions"),
    ],
)
def test_a_sink_is_read(text: str, kind: SinkKind, servers: tuple[tuple[str, int], ...], target: str) -> None:
    sink = parse_sink(text)
    assert (sink.kind, sink.servers, sink.target, sink.text) == (kind, servers, target, text)


def test_a_list_has_commas_and_so_have_brokers() -> None:
    kinds = [sink.kind for sink in parse_sinks("kafka://a:1,b:2/t, stdout,file:/a,b")]
    assert kinds == [SinkKind.KAFKA, SinkKind.STDOUT, SinkKind.FILE]
    assert parse_sinks("off") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no sink"),
        ("kafka", "is no sink"),
        ("ftp://a/b", "is no sink"),
        ("file:", "is no sink"),
        ("stdout,off", "says `off` and more; take one of them out"),
        ("otlp://a:4318/v1/logs", r"write `otlp://HOST:PORT`, or `otlp\+http://HOST:PORT/PATH`"),
        ("stdout,stdout", "one sink twice"),
        ("http://", "names no server"),
        ("http://a:0/", "names no server"),
        ("http://a:70000/", "names no server"),
        ("http://a,b/", "names several servers"),
        ("redis://a/0", "names no stream"),
        ("kafka://a:1", "names no topic"),
        ("http://a/\x1b[31m", "is no sink"),
    ],
)
def test_what_is_none_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        parse_sinks(text)
    assert str(refused.value).isprintable()


def test_a_password_is_refused_and_not_repeated() -> None:
    for text in (
        "https://user:canary@collector/",
        "kafka://u:canary@a:1,b:2/t",
        "redis://:canary@r/0/s",
        "amqp://u:canary@a/q",
        "http://u:canary@[::1",
    ):
        with pytest.raises(ConfigError, match="is refused") as refused:
            parse_sink(text)
        assert "canary" not in str(refused.value)


def test_what_is_encrypted_and_what_is_local_is_known() -> None:
    assert parse_sink("kafka+tls://a/t").tls
    assert not parse_sink("kafka://a/t").tls
    assert parse_sink("file:/a").local
    assert not parse_sink("http://a/").local


def test_a_query_is_kept_and_not_shown() -> None:
    sink = parse_sink("https://collector/records@v1?token=canary")
    assert sink.target == "/records@v1?token=canary"
    assert str(sink) == "https://collector/records@v1?..."
    for text in (
        "https://a b/?token=canary",
        "ftp://a/?token=canary",
        "http://a/?x=canary,http://a/?x=canary",
    ):
        with pytest.raises(ConfigError) as refused:
            parse_sinks(text)
        assert "canary" not in str(refused.value)

"""Example pipelines: what can be said of them without the programs that run them; none can be had here."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from authz.config.settings import load
from tests.support.prometheus import MONITORING

PIPELINES = MONITORING / "pipelines"
FILES = {"alloy.alloy", "fluent-bit.yaml", "loki.yaml", "vector.yaml"}
LABELS = {"service_name", "sidecar", "outcome", "host"}  # what a client sends is never one


def _text(name: str) -> str:
    return (PIPELINES / name).read_text()


def _yaml(name: str) -> Any:
    return yaml.safe_load(_text(name))


def test_there_is_one_for_each_program() -> None:
    assert {path.name for path in PIPELINES.iterdir()} == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_pipeline_says_that_it_was_not_run_and_how_to_check_it(name: str) -> None:
    head = _text(name).partition("\n\n")[0]
    assert "not run" in re.sub(r"\s*\n(?:#|//)\s*", " ", head)
    assert re.search(r"`[^`]*(?:validate|dry-run|verify-config)[^`]*`", head)


@pytest.mark.parametrize("name", FILES)
def test_sinks_that_a_pipeline_names_are_ones_that_a_sidecar_takes(name: str) -> None:
    named = re.findall(r'record_sink = "([^"]+)"', _text(name))
    assert named
    for sink in named:
        made = load({"policies": ["policies"]}, {"AUTHZ_RECORD_SINK": sink})
        assert [str(address) for address in made.record.record_sink] == [sink]


def test_vector_knows_every_input_and_keeps_lines_as_they_are() -> None:
    made = _yaml("vector.yaml")
    parts = {**made["sources"], **made["transforms"], **made["sinks"]}
    for part in parts.values():
        assert set(part.get("inputs", ())) <= set(parts)
    (sink,) = made["sinks"].values()
    assert sink["encoding"] == {"codec": "raw_message"}
    assert set(sink["labels"]) <= LABELS
    source = made["transforms"]["authz_records"]["source"]
    assert ".message =" not in source
    assert source.count("{") == source.count("}")
    assert made["sources"]["authz_http"]["framing"] == {"method": "newline_delimited"}


def test_fluent_bit_reads_the_time_that_records_have() -> None:
    made = _yaml("fluent-bit.yaml")
    (parser,) = made["parsers"]
    tail, otlp = made["pipeline"]["inputs"]
    (sink,) = made["pipeline"]["outputs"]
    assert tail["parser"] == parser["name"]
    assert parser["time_format"] == "%Y-%m-%dT%H:%M:%S.%LZ"
    tag = re.compile(sink["match"].replace(".", r"\.").replace("*", ".*"))
    assert all(tag.fullmatch(one["tag"]) for one in (tail, otlp))
    assert {label.partition("=")[0].strip() for label in sink["labels"].split(",")} <= LABELS


def test_loki_takes_late_lines_as_long_as_any_of_ours() -> None:
    limits = _yaml("loki.yaml")["limits_config"]
    assert limits["allow_structured_metadata"] is True
    assert limits["max_line_size"] == "1MB"


def test_alloy_leads_every_record_to_loki() -> None:
    text = re.sub(r"//.*", "", _text("alloy.alloy"))
    assert text.count("{") == text.count("}")
    parts = {f"{kind}.{name}" for kind, name in re.findall(r'^([a-z_.]+) "(\w+)" \{$', text, re.MULTILINE)}
    used = re.findall(r"\b((?:loki|local|otelcol)\.[a-z_.]+)\.(?:receiver|targets|input)\b", text)
    assert len(used) == 4
    assert set(used) <= parts
    (values,) = re.findall(r"stage\.labels \{\s*values = \{(.*?)\}", text)
    assert set(re.findall(r"(\w+) =", values)) <= LABELS

"""`authz logs` over files and a debug socket; beside sidecars that run: tests/e2e/test_logs_command.py."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from authz.cli import logs as command
from authz.cli.logs_filters import _FILTERS, question
from authz.cli.logs_print import Printer
from authz.history.in_spool import SpoolSource
from authz.history.line import Found
from authz.record.pseudonym import Field, pseudonym
from authz.record.recent import page, recent_of, wanted_of
from authz.record.segment import encode_block, segment_name
from authz.transport.ops import OpsServer
from authz.transport.routes import Response, records
from authz.transport.routes import recent as recent_route
from tests.support import lines
from tests.support.lines import decision, denied, event, gap, written

ALL = [decision(0), decision(1, customer="globex"), denied(2), gap(3, 40, 37), event(41), decision(42)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    written(tmp_path / "records.jsonl", *ALL)


class Sidecar:
    """A debug socket that knows some decisions."""

    def __init__(self, home: Path) -> None:
        self.address = f"unix:{home}/d.sock"
        self.kept = [*ALL]
        routes = {"/logs": recent_route(self._recent), "/logs/": records(self._find)}
        self.server = OpsServer(self.address, routes)

    def _recent(self, query: str) -> bytes:
        wanted = wanted_of(query)
        return page({0: recent_of(self.kept, wanted, full=False)}, wanted)

    def _find(self, decision_id: str) -> bytes | None:
        return next((line for line in self.kept if decision_id.encode() in line), None)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Sidecar]:
    made = Sidecar(tmp_path)
    made.server.start()
    yield made
    made.server.close()


def run(*words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(command.app, words, input=stdin)


def found(result: Result) -> list[bytes]:
    return [line + b"\n" for line in result.stdout_bytes.split(b"\n") if line]


def test_json_is_the_very_lines_with_the_gaps_among_them() -> None:
    result = run("search", "records.jsonl", "--customer", "acme", "--output", "json")
    assert result.exit_code == 0
    assert found(result) == [ALL[0], ALL[2], ALL[3], ALL[5]]
    assert "6 lines read, 3 found; 37 records missing, as 1 gap told" in result.stderr


def test_a_table_has_what_people_look_for() -> None:
    result = run("search", "records.jsonl")
    assert result.exit_code == 0
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["TIME", "ANSWER", "REASON", "RULE", "WHO", "MS", "ID", "REQUEST"]
    assert rows[2].split()[1:9] == [
        "05:25:02.000", "deny", "429", "rate_limited", "orders/read", "acme", "9F09CEP7R6LT", "0.12",
    ]  # fmt: skip
    assert rows[2].endswith("GET a.example.com/orders/2")
    assert (
        "-- 37 records of orders-7f are missing here: queue_full (stream 1a206ddce3eb2ca0, 3 to 40) --"
        in rows[3]
    )
    assert "-- policies_loaded at orders-7f --" in rows[4]


def test_nothing_that_matches_is_one_and_gaps_alone_are_nothing() -> None:
    result = run("search", "records.jsonl", "--customer", "nobody")
    assert result.exit_code == 1
    assert "37 records of orders-7f are missing" in result.stdout
    assert run("search", "records.jsonl", "--kind", "gap").exit_code == 0
    written(Path("none.jsonl"), decision(1))
    assert run("search", "none.jsonl", "--kind", "gap").exit_code == 1


def test_a_name_finds_its_pseudonym_where_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    key = b"k" * 32
    hidden = decision(7, customer=pseudonym(key, Field.CUSTOMER, "acme"))
    written(Path("hidden.jsonl"), decision(1), hidden)
    words = ("search", "hidden.jsonl", "--customer", "acme", "--output", "json")
    assert found(run(*words)) == [decision(1)]
    monkeypatch.setenv("AUTHZ_RECORD_PSEUDONYM_KEY", key.decode())
    assert found(run(*words)) == [decision(1), hidden]


def test_a_limit_stops_the_search_and_says_so() -> None:
    result = run("search", "records.jsonl", "--limit", "3", "--output", "json")
    assert found(result) == ALL[:3]
    assert "3 found; stopped after 3: there may be more" in result.stderr


def test_what_is_missing_before_the_last_that_is_shown_is_shown() -> None:
    result = run("search", "records.jsonl", "--limit", "4", "--output", "json")
    assert found(result) == ALL[:5]


def test_rotated_and_compressed_files_are_read_in_their_order() -> None:
    Path("records.jsonl.2.gz").write_bytes(gzip.compress(decision(0) + decision(1)))
    written(Path("records.jsonl.1"), decision(2))
    written(Path("records.jsonl"), decision(3))
    names = ["records.jsonl", "records.jsonl.1", "records.jsonl.2.gz"]
    result = run("search", *names, "--output", "json")
    assert found(result) == [decision(number) for number in range(4)]


def test_standard_input_is_a_source() -> None:
    assert found(run("search", "-", "--output", "json", stdin=b"")) == []


def test_a_spool_is_a_source(tmp_path: Path) -> None:
    home = tmp_path / "spool" / lines.STREAM
    home.mkdir(parents=True)
    (home / segment_name(1)).write_bytes(encode_block(decision(1), 1, 1, 1, 0))
    assert found(run("search", "spool", "--output", "json")) == [decision(1)]
    assert SpoolSource("spool").total > 0
    result = run("tail", "spool", "--follow")
    assert (result.exit_code, "is a spool" in result.stderr) == (2, True)
    result = run("verify", "spool")
    assert (result.exit_code, "verify what a sink has" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--reason", "rate_limted"), "--reason: there is no `rate_limted`; did you mean `rate_limited`?"),
        (("--outcome", "refused"), "--outcome: there is no `refused`; there are: allow, deny"),
        (("--detail", "key_expird"), "did you mean `key_expired`?"),
        (("--kind", "gaps"), "did you mean `gap`?"),
        (("--status", "42"), "is no status"),
        (("--address", "10.0.0.0/8"), "is no address"),
        (("--since", "yesterday"), "is no time"),
        (("--since", "1h", "--until", "2h"), "nothing lies between"),
        (("--path", "orders"), "begins with no `/`"),
        (("--path", "/a?b=c"), "records hold no query"),
        (("--debug", "unix:d"), "files or the sidecar?"),
    ],
)
@pytest.mark.parametrize("verb", ["search", "tail"])
def test_what_cannot_be_meant_is_usage(verb: str, words: tuple[str, ...], line: str) -> None:
    result = run(verb, "records.jsonl", *words)
    assert result.exit_code == 2, result.output
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("nowhere.jsonl", "`nowhere.jsonl` cannot be read: no such file"),
        (".", "is a directory and no spool; name the files in it"),
        ("kafka://127.0.0.1:1/t", "kcat"),
        ("http://127.0.0.1/x", "is no source; name files"),
        ("redis://127.0.0.1:1/0/s", "cannot be reached: connection refused"),
        ("redis://127.0.0.1/s", "names no stream"),
        ("redis://u:hidden@127.0.0.1/0/s", "a sink with a user or password in it is refused"),
    ],
)
def test_a_source_that_cannot_be_read_is_three(source: str, line: str) -> None:
    for verb in (("search",), ("tail",), ("show", "12345678"), ("verify",)):
        result = run(*verb, source)
        assert result.exit_code == 3, result.output
        assert line in result.stderr
        assert "hidden" not in result.stderr
        assert result.stderr.count("\n") == 1


def test_without_a_source_the_sidecar_is_asked(sidecar: Sidecar) -> None:
    result = run("search", "--debug", sidecar.address, "--outcome", "deny", "--output", "json")
    assert found(result) == [ALL[2], ALL[3]]
    assert found(run("tail", "-n", "2", "--debug", sidecar.address, "--output", "json")) == ALL[4:]
    result = run("show", lines.decision_id(2), "--debug", sidecar.address)
    assert result.stdout.startswith("DENIED 429 rate_limited\n")


def test_a_sidecar_that_is_not_there_says_what_else_there_is() -> None:
    result = run("search")
    assert result.exit_code == 3
    assert "is it the address of `serve --debug`? Or name files of records" in result.stderr
    result = run("search", "--debug", "off")
    assert (result.exit_code, "--debug: is `off`" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (Response(200, "text/html", b"<html>"), "answers what this version does not know"),
        (Response(404, "text/html", b""), "tells no records"),
        (Response(503, "application/json", b'{"detail":"\x1b[1m"}'), "refuses"),
    ],
)
def test_somebody_else_at_the_socket(tmp_path: Path, response: Response, line: str) -> None:
    server = OpsServer(f"unix:{tmp_path}/o.sock", {"/logs": lambda _: response})
    server.start()
    result = run("search", "--debug", f"unix:{tmp_path}/o.sock")
    server.close()
    assert result.exit_code == 3
    assert line in result.stderr
    assert "\x1b" not in result.stderr


def test_the_last_ones_of_several_files_are_in_the_order_of_time() -> None:
    written(Path("a"), decision(1), decision(3), decision(5))
    written(Path("b"), decision(2), decision(4))
    result = run("tail", "a", "b", "--lines", "3", "--output", "json")
    assert found(result) == [decision(3), decision(4), decision(5)]
    assert found(run("tail", "a", "-n", "0", "--output", "json")) == []


def test_filters_hold_for_the_last_ones_too() -> None:
    result = run(
        "tail", "records.jsonl", "-n", "1", "--outcome", "allow", "--kind", "decision", "--output", "json"
    )
    assert found(result) == [ALL[5]]
    result = run("tail", "records.jsonl", "--customer", "nobody", "--kind", "decision")
    assert (result.exit_code, "nothing matches" in result.stderr) == (1, True)


def test_what_the_last_ones_hide_is_told() -> None:
    written(Path("torn"), decision(1), b"garbage\n", decision(2)[:40])  # a line that is being written
    result = run("tail", "torn")
    assert result.exit_code == 0
    assert "note: 1 line unreadable, the first: torn, byte" in result.stderr


def test_one_decision_is_shown_in_full() -> None:
    result = run("show", lines.decision_id(2)[-8:], "records.jsonl")
    assert result.exit_code == 0
    assert result.stdout.startswith("DENIED 429 rate_limited\n")
    assert "A limit of the allowing rules had no room" in result.stdout
    assert found(run("show", lines.decision_id(2), "records.jsonl", "--output", "json")) == [ALL[2]]


def test_a_decision_that_is_not_there() -> None:
    result = run("show", lines.decision_id(99), "records.jsonl")
    assert result.exit_code == 1
    assert "in records.jsonl; it was made at 2026-11-23T05:25:30.501" in result.stderr
    assert run("show", "hello", "records.jsonl").exit_code == 2


def test_a_record_whose_parts_are_odd_is_an_error_and_no_traceback() -> None:
    written(Path("odd"), decision(1).replace(b'"protocol":"HTTP/2"', b'"protocol":7'))
    result = run("show", lines.decision_id(1), "odd")
    assert (result.exit_code, result.stderr.count("\n")) == (3, 1)
    assert "the record cannot be read" in result.stderr


def test_nothing_in_a_foreign_file_moves_a_terminal() -> None:
    hostile = decision(1, reason="x\x9b31m\x7f", path="/\u202e").replace(b"acme", b"a\\u001b[2J")
    written(Path("\x1b[1m"), hostile, b"garbage\x1b[0m\n")
    for words in (("search",), ("tail",), ("show", lines.decision_id(1))):
        result = run(*words, "\x1b[1m")
        assert result.exit_code == 0, result.output
        assert all(each.isprintable() or each == "\n" for each in result.output)


def test_interrupted_it_says_how_far_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> list[Found]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Printer, "show", interrupt)
    result = run("search", "records.jsonl")
    assert (result.exit_code, "interrupted: the rest was not read" in result.stderr) == (130, True)
    assert run("tail", "records.jsonl").exit_code == 0


def test_every_command_has_help() -> None:
    for verb in ("search", "tail", "show", "verify"):
        result = run(verb, "--help")
        assert result.exit_code == 0
        assert "Exit codes: 0" in " ".join(result.stdout.split())
    assert "--customer" in run("tail", "--help").stdout


def test_records_that_are_whole_and_such_that_are_not() -> None:
    written(Path("whole"), *(decision(number) for number in range(1, 4)))
    result = run("verify", "whole")
    assert result.exit_code == 0, result.output
    assert "3 records" in result.stdout
    assert "docs/evidence.md" in result.stdout
    written(Path("holed"), decision(1), decision(3))
    result = run("verify", "holed")
    assert result.exit_code == 1
    assert "holed, line 2: hole" in result.stdout
    told = json.loads(run("verify", "holed", "--output", "json").stdout)
    assert told["findings"][0]["fault"] == "hole"
    result = run("verify", "whole", "--key", "nowhere.pem")
    assert (result.exit_code, "nowhere.pem" in result.stderr) == (3, True)


def test_standard_input_is_verified() -> None:
    os.environ.pop("COLUMNS", None)
    assert run("verify").exit_code == 2


def test_an_address_is_found_whatever_its_spelling() -> None:
    asked = {name: "" if name not in {"reason", "detail", "status", "kind"} else None for name in _FILTERS}
    for spelt, recorded in (
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("p:x", "p:x"),
    ):
        assert question({**asked, "address": spelt}).address == recorded

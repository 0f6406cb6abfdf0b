"""What `authz logs verify` says of records that are whole, and of such that are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

from authz.cli import logs as command
from authz.record.notice import Why, gap_line
from tests.support.chains import SIDECAR, STREAM, chained, decisions

# The key that `chains` signs with.
_PUBLIC = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pub.pem").write_bytes(_PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def verified(lines: list[bytes], *words: str) -> Result:
    Path("records.jsonl").write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
    return CliRunner().invoke(command.app, ["verify", "records.jsonl", *words])


def test_a_whole_chain_is_whole_and_what_it_cannot_prove_is_said() -> None:
    result = verified(chained(decisions(1, 20)), "--key", "pub.pem")
    assert result.exit_code == 0, result.output
    assert f"{SIDECAR} {STREAM}: 1 to 20, chained, 2 good checkpoints up to number 20\n" in result.stdout
    assert "whole: up to the last checkpoints every line is as it was shipped\n" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("what this cannot prove: ")


def test_what_no_signature_vouches_for_yet_is_told() -> None:
    lines = chained(decisions(1, 20))[:-1]
    result = verified(lines, "--key", "pub.pem")
    assert result.exit_code == 0, result.output
    assert "its end is not here" in result.stdout
    assert "no signature vouches yet" in result.stdout


def test_without_a_key_nobody_knows_whose_chains_they_are() -> None:
    result = verified(chained(decisions(1, 3)))
    assert result.exit_code == 0
    assert f"{SIDECAR} {STREAM}: 1 to 3, chained, no good checkpoint\n" in result.stdout
    assert "without --key nobody knows whose they are" in result.stdout


def test_where_no_line_is_nothing_is_proven_and_that_is_no_yes() -> None:
    result = verified([], "--key", "pub.pem")
    assert result.exit_code == 1
    assert "no line is here, so nothing is known of any" in result.output


def test_lines_that_are_not_chained_are_counted_alone() -> None:
    gap = gap_line(SIDECAR, STREAM, 4, 9, 6, Why.QUEUE_FULL, 0)
    result = verified([*decisions(1, 3), gap, *decisions(10, 12)])
    assert result.exit_code == 0
    assert f"{SIDECAR} {STREAM}: 1 to 12, not chained\n" in result.stdout
    assert "6 records are missing and declared: queue_full 6" in result.stdout
    assert "bytes prove nothing" in result.stdout


def test_every_fault_has_its_place_and_ends_with_one() -> None:
    lines = chained(decisions(1, 9))
    lines[4] = lines[4].replace(b"deny", b"dent")
    result = verified(lines, "--key", "pub.pem")
    assert result.exit_code == 1
    assert "records.jsonl, line 5: altered: number 4" in result.stdout
    assert "BROKEN: 1 fault, 0 records missing without a word" in result.stdout


def test_of_very_many_faults_people_see_the_first_and_machines_more() -> None:
    holed = [line for line in decisions(1, 200) if json.loads(line)["seq"] % 2]
    result = verified(holed)
    assert result.exit_code == 1
    assert result.stdout.count("hole: ") == 50
    assert "and 49 more; --output json has the first 1,000" in result.stdout
    told = json.loads(verified(holed, "--output", "json").stdout)
    assert (len(told["findings"]), told["faults"], told["undeclared"]) == (99, 99, 99)


def test_names_in_a_foreign_file_move_no_terminal() -> None:
    hostile = [line.replace(SIDECAR.encode(), b"\\u001b[1m\\u202e") for line in decisions(1, 5)]
    result = verified([hostile[0], hostile[3], b"\x1b[2Jgarbage"])
    assert result.exit_code == 1
    assert all(each.isprintable() or each == "\n" for each in result.output)


def test_a_key_that_is_none_is_refused() -> None:
    Path("bad.pem").write_text("x")
    result = verified([], "--key", "bad.pem")
    assert (result.exit_code, "holds no public Ed25519 key" in result.stderr) == (3, True)


def test_an_interrupted_look_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("authz.cli.logs_verify.Verifier.take", interrupt)
    assert verified(decisions(1, 2)).exit_code not in (0, 1, 2, 3)

"""What the bench asks about must be what it says it is."""

from __future__ import annotations

from pathlib import Path

from authz.bench import documents, frame
from authz.identity.keyring import Peppers
from authz.request.read import read
from authz.snapshot.build import Surroundings, build
from authz.snapshot.sources import read as read_directory
from tests.support.decisions import Judge

SURROUNDINGS = Surroundings(Peppers(documents.PEPPER.encode()))


def test_every_target_is_allowed_with_every_key_but_the_revoked_one(tmp_path: Path) -> None:
    written = documents.write(tmp_path, policies=10, keys=3)
    judge = Judge(build(read_directory([tmp_path]), SURROUNDINGS, 0).snapshot)
    for number in range(6):
        for of_request in (False, True):
            host, path = written.target(number, of_request=of_request)
            answer = judge.answer(frame.frame(host, path, written.tokens[number % 3])[5:])
            assert answer.reason == "allowed"
            assert len(answer.check.decision.spent) == 2
            assert judge.answer(frame.frame(host, path, written.revoked)[5:]).detail == "key_revoked"


def test_half_of_the_policies_ask_the_request_and_half_the_identity_alone(tmp_path: Path) -> None:
    written = documents.write(tmp_path, policies=10, keys=1)
    snapshot = build(read_directory([tmp_path]), SURROUNDINGS, 0).snapshot
    for of_request in (False, True):
        host, path = written.target(1, of_request=of_request)
        request = read(frame.frame(host, path)[5:], snapshot.reading)
        (candidate,) = snapshot.index.candidates(snapshot.index.view(host), request)  # type: ignore[arg-type]
        assert candidate.rule.when_of_identity is not of_request


def test_a_frame_says_how_long_its_message_is() -> None:
    prepared = frame.frame("a.example.com", "/x", "key")
    assert prepared[0] == 0
    assert int.from_bytes(prepared[1:5], "big") == len(prepared) - 5


def test_equal_numbers_write_equal_documents(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        documents.write(tmp_path / name, 5, 5)
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [file.read_bytes() for file in files[0]] == [file.read_bytes() for file in files[1]]

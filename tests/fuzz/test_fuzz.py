"""The corpora replayed, a short guided run of every target, and the proof that a run finds what is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.run import ENGINES, best_engine, fuzz
from tests.fuzz.shrink import shrink
from tests.fuzz.target import NAMES, load, seeds_of

SECONDS = 1  # a target; `make fuzz` takes its time, and other dice
SEED_MAX_BYTES = 4096
_SEEDS = [(name, path) for name in NAMES for path in seeds_of(name)]
_ENGINES = [engine for engine in ENGINES if engine == "hypothesis" or best_engine() == "atheris"]


@pytest.mark.parametrize(("name", "seed"), _SEEDS, ids=[f"{name}/{path.name}" for name, path in _SEEDS])
def test_a_target_holds_for_its_corpus(name: str, seed: Path) -> None:
    load(name).run(seed.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_finds_nothing(name: str, tmp_path: Path) -> None:
    result = fuzz(name, SECONDS, tmp_path, seed=1)
    assert result.held, result.log[-4000:]
    assert result.runs > len(seeds_of(name))


def test_every_target_has_a_small_corpus() -> None:
    assert len(NAMES) >= 12
    for name in NAMES:
        seeds = seeds_of(name)
        assert len(seeds) >= 5, name
        assert all(seed.stat().st_size <= SEED_MAX_BYTES for seed in seeds), name


@pytest.mark.parametrize("engine", _ENGINES)
def test_a_planted_bug_is_found_kept_and_found_again(engine: str, tmp_path: Path) -> None:
    result = fuzz("tests.fuzz.planted", 20, tmp_path, engine)
    assert not result.held
    (finding,) = result.findings
    assert finding.read_bytes().startswith(b"bug!")
    assert "the planted bug" in result.log
    with pytest.raises(AssertionError, match="the planted bug"):
        main(["tests.fuzz.planted", "--replay", str(finding)])


@pytest.mark.parametrize("way", ["dies", "hangs"])
@pytest.mark.skipif(best_engine() != "atheris", reason="needs atheris: Hypothesis shares its process's fate")
def test_a_target_that_takes_its_process_along_is_broken(way: str, tmp_path: Path) -> None:
    result = fuzz(f"tests.fuzz.planted_{way}", 5, tmp_path)
    assert not result.held
    assert result.findings


@pytest.mark.parametrize("engine", _ENGINES)
def test_a_sound_target_holds(engine: str, tmp_path: Path) -> None:
    result = fuzz("tests.fuzz.sound", 1, tmp_path, engine)
    assert result.held, result.log[-2000:]


def test_a_target_that_cannot_be_loaded_is_broken(tmp_path: Path) -> None:
    result = fuzz("tests.fuzz.no_such_target", 1, tmp_path)
    assert not result.held
    assert result.runs == 0


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--directory", str(tmp_path), "--seconds", "10"]
    assert main(["tests.fuzz.planted", *where]) == 1
    assert "again: " in capsys.readouterr().out
    assert main(["tests.fuzz.sound", *where[:-1], "1"]) == 0
    assert "held" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["no-such-target"], ["--replay", "f"], ["path", "host", "--replay", "f"]])
def test_what_cannot_be_run_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_a_finding_is_made_smaller_and_breaks_the_same(tmp_path: Path) -> None:
    finding = tmp_path / "crash"
    finding.write_bytes(b"bug!" + b"x" * 500)
    assert main(["tests.fuzz.planted", "--minimise", str(finding)]) == 0
    assert finding.read_bytes() == b"bug!"


def test_what_breaks_nothing_stays_as_it_is() -> None:
    assert shrink(load("tests.fuzz.sound"), b"abc") == b"abc"

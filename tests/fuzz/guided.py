"""One guided run, in a process of its own: libFuzzer (through atheris) ends the process when it is done.

    python -m tests.fuzz.guided TARGET DIRECTORY SECONDS SEED

New inputs are kept in DIRECTORY/corpus, what breaks the target in DIRECTORY/crash-*, timeout-* or oom-*.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

from tests.fuzz.target import corpus_of, load

MEMORY_MB = 1024


def _dictionary(words: tuple[bytes, ...]) -> str:
    """Write words as libFuzzer reads them. Source: llvm.org/docs/LibFuzzer.html, "Dictionaries"."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)


def main(name: str, directory: Path, seconds: str, seed: str) -> None:
    """Fuzz until the time is over or something breaks; does not return. Seed 0: a new one each time."""
    with atheris.instrument_imports(include=["authz", "tests"], exclude=["authz.attack", "tests.support"]):
        target = load(name)
    found = directory / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    flags = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={target.max_bytes}",
        f"-timeout={target.timeout_s}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={directory}/",
        "-print_final_stats=1",
    ]
    if target.words:
        words = directory / "words.dict"
        words.write_text(_dictionary(target.words))
        flags.append(f"-dict={words}")
    corpus = corpus_of(name)
    seeds = [str(corpus)] if corpus.is_dir() else []
    atheris.Setup([sys.argv[0], *flags, str(found), *seeds], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])

"""The same without coverage, where atheris cannot be had: Hypothesis mixes seeds, words and bytes.

    python -m tests.fuzz.blind TARGET DIRECTORY SECONDS SEED

It finds what is near the corpus; what breaks the target is shrunk and kept as DIRECTORY/crash-*.
"""

from __future__ import annotations

import secrets
import sys
import time
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.fuzz.target import Target, load, seeds_of

_ROUND = 200  # examples between two looks at the clock


def inputs(target: Target, seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """Return inputs made of seeds, pieces of seeds, words and any bytes."""
    whole = st.sampled_from(seeds or [b""])
    piece = st.tuples(whole, st.integers(0, 64), st.integers(0, 64)).map(
        lambda cut: cut[0][cut[1] : cut[1] + cut[2]]
    )
    word = st.sampled_from(target.words or (b"",))
    parts = st.lists(st.one_of(st.binary(max_size=8), piece, word), max_size=8).map(b"".join)
    changed = st.tuples(whole, st.integers(0, 64), st.integers(0, 8), parts).map(
        lambda edit: edit[0][: edit[1]] + edit[3] + edit[0][edit[1] + edit[2] :]
    )
    return st.one_of(parts, changed, whole).map(lambda data: data[: target.max_bytes])


def main(name: str, directory: Path, seconds: float, seed: int) -> int:
    """Return 0, or 77 as libFuzzer does, having written what broke the target."""
    target = load(name)
    seeds = [path.read_bytes() for path in seeds_of(name)]
    broke: list[bytes] = []
    runs = 0

    def once(data: bytes) -> None:
        nonlocal runs
        runs += 1
        try:
            target.run(data)
        except BaseException:
            broke.append(data)
            raise

    end = time.monotonic() + seconds
    number = seed or secrets.randbits(32)
    while time.monotonic() < end:
        test = settings(
            max_examples=_ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )(seeded(number)(given(inputs(target, seeds))(once)))
        number += 1
        try:
            test()
        except BaseException as error:  # noqa: BLE001 - a finding, whatever it raises
            _keep(directory, broke[-1])
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - a program's answer
            return 77
    print(f"stat::number_of_executed_units: {runs}", file=sys.stderr)  # noqa: T201 - as above
    return 0


def _keep(directory: Path, data: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"crash-{sha256(data).hexdigest()[:16]}").write_bytes(data)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))

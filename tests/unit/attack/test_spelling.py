"""Generated spellings: the same for the same seed, aimed, and never the good thing itself."""

from __future__ import annotations

from random import Random

from authz.attack.oracle import protected_reading
from authz.attack.spelling import (
    bent_tokens,
    escaped,
    fixed_spellings,
    spell_case,
    spell_host,
    spell_name,
    spell_path,
    spell_token,
    wild_path,
)

GOOD = "ak_live_k7Qm2VxP0aZs_AAAA"


def _paths(seed: int) -> list[str]:
    rng = Random(seed)
    return [spell_path(rng, "/admin/users") for _ in range(300)]


def test_the_same_seed_gives_the_same_spellings() -> None:
    assert _paths(1) == _paths(1)
    assert _paths(1) != _paths(2)


def test_most_spellings_hit_and_hardly_two_are_alike() -> None:
    spelled = _paths(1)
    assert len(set(spelled)) > 200
    assert sum(protected_reading(path, "/admin") is not None for path in spelled) > 200


def test_every_fixed_trick_is_there_once_at_least() -> None:
    spelled = list(fixed_spellings("/admin"))
    assert {"/admin", "/x/../admin", "/admin%00", "/%61%64%6d%69%6e", "/%2561dmin"} <= set(spelled)


def test_escapes_may_be_escaped() -> None:
    assert escaped("/") == "%2F"
    assert escaped("/", depth=3, upper=False) == "%25252f"


def test_wild_paths_begin_with_a_slash() -> None:
    assert all(wild_path(Random(seed), "/admin")[0] == "/" for seed in range(50))


def test_hosts_and_names_keep_what_they_aim_at() -> None:
    for seed in range(50):
        assert "open.test" in spell_host(Random(seed), "open.test").lower()
        assert spell_name(Random(seed), "x-a").lower().translate(str.maketrans("_.", "--")) == "x-a"
        assert spell_case(Random(seed), "/admin").lower() == "/admin"


def test_no_bent_credential_is_the_good_one() -> None:
    bent = list(bent_tokens(GOOD))
    assert GOOD not in bent
    assert len(bent) == len(set(bent)) > 15
    assert all(spell_token(Random(seed), GOOD) != "" for seed in range(20))

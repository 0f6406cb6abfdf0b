"""The spellings of `authz attack` as Hypothesis strategies, for property tests and end-to-end tests."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

from authz.attack.spelling import spell_host, spell_name, spell_path, wild_path


def _luck() -> st.SearchStrategy[Random]:
    """A source whose choices Hypothesis makes, and makes simpler where a test fails."""
    return st.randoms(use_true_random=False)


def spelled_paths(path: str) -> st.SearchStrategy[str]:
    """Spell a path so that some reader somewhere may take it for `path`."""
    return _luck().map(lambda rng: spell_path(rng, path))


def wild_paths() -> st.SearchStrategy[str]:
    """Return any path made of the parts that readers quarrel about; it aims at nothing."""
    return _luck().map(lambda rng: wild_path(rng, "/admin"))


def spelled_hosts(host: str) -> st.SearchStrategy[str]:
    """Spell a host so that some reader may take it for `host`."""
    return _luck().map(lambda rng: spell_host(rng, host))


def spelled_names(name: str) -> st.SearchStrategy[str]:
    """Spell a header name as a careless upstream might take it for `name`."""
    return _luck().map(lambda rng: spell_name(rng, name))

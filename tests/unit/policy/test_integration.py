"""What each Envoy sends, as data."""

from __future__ import annotations

import re

import pytest

from authz.policy.integration import CAPABILITIES, MEANING, NAMES, Always, Input, Never, Proxy, WhenSet


@pytest.mark.parametrize("proxy", Proxy)
def test_every_input_is_answered_for_every_integration(proxy: Proxy) -> None:
    assert proxy in NAMES
    assert CAPABILITIES[proxy].keys() == set(Input) == MEANING.keys()


@pytest.mark.parametrize("proxy", Proxy)
def test_every_no_says_what_to_do_and_every_perhaps_what_to_set(proxy: Proxy) -> None:
    for one in Input:
        match CAPABILITIES[proxy][one]:
            case Never(mend):
                assert re.match(r"[a-z]+ ", mend), one
            case WhenSet(how):
                assert "`" in how, one
            case Always(note):
                assert not note or note.startswith("not where "), one


def test_no_integration_sends_everything_and_each_sends_something() -> None:
    for proxy in Proxy:
        kinds = {type(capability) for capability in CAPABILITIES[proxy].values()}
        assert {Never, WhenSet} <= kinds

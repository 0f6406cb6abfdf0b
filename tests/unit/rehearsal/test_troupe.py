from __future__ import annotations

import pytest

from authz.identity.keyring import Peppers
from authz.model.errors import ConfigError
from authz.model.reason import Detail
from authz.policy.kind_test import TestIdentity
from authz.rehearsal.troupe import Troupe
from authz.snapshot.build import Surroundings
from tests.support.policies import PEPPER, load
from tests.support.rehearsals import KEY, SET
from tests.support.requests import client

WHO = TestIdentity(provider="partner-keys", customer="acme")


def test_a_played_token_proves_nothing_to_the_ring_that_is_served() -> None:
    built = load(*SET, surroundings=Surroundings(Peppers(PEPPER)))
    token = Troupe(built).holder("partner").token
    assert built.snapshot.keyring.verify(token, 0, client()) is Detail.KEY_SECRET_WRONG
    token = Troupe(built).proven(WHO).token
    assert built.snapshot.keyring.verify(token, 0, client()) is Detail.KEY_UNKNOWN


def test_a_real_token_proves_nothing_in_a_rehearsal() -> None:
    built = load(*SET, surroundings=Surroundings(Peppers(PEPPER)))
    ring = Troupe(built).holder("partner").keyring
    assert ring.verify(KEY.token, 0, client()) is Detail.KEY_SECRET_WRONG


def test_each_run_has_another_secret_and_no_text_shows_it() -> None:
    built = load(*SET)
    one, other = Troupe(built).holder("partner"), Troupe(built).holder("partner")
    assert one.token != other.token
    assert one.token not in repr(one)


def test_a_holder_is_looked_up_once() -> None:
    troupe = Troupe(load(*SET))
    assert troupe.holder("partner") is troupe.holder("partner")


def test_tokens_have_the_brand_of_the_installation() -> None:
    built = load(*SET, surroundings=Surroundings(brand="shop", env="test"))
    assert Troupe(built).holder("partner").token.startswith("shop_test_")


def test_who_is_not_in_the_set_cannot_be_played() -> None:
    troupe = Troupe(load(*SET))
    with pytest.raises(ConfigError, match="there is no ApiKey `nobody`"):
        troupe.holder("nobody")
    with pytest.raises(ConfigError, match="there is no IdentityProvider `nobody`"):
        troupe.proven(TestIdentity(provider="nobody"))

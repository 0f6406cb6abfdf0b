"""Scopes: which directory may speak about which hosts, names, providers and customers."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from authz.policy.fields import HostText, Name, Unlike
from authz.policy.shape import Model, model
from authz.policy.texts import shown

ScopedKind = Literal["Policy", "Limit", "PolicyTest", "Site", "IdentityProvider", "ApiKey", "Customer"]

EVERY = "*"  # of customers

_SEGMENT = r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,63}"
_DIRECTORY = rf"{_SEGMENT}(/{_SEGMENT}){{0,14}}"
_NAMES = r"[a-z0-9-]{1,63}|[a-z0-9-]{0,62}\*"


def _check_directory(value: str) -> str:
    # Nothing that begins with a dot is read, so `..` and hidden directories are no directories here.
    if re.fullmatch(_DIRECTORY, value) is None:
        raise ValueError(
            f"`{shown(value)}` is no directory below `--policies`: write one such as `teams/items`, without"
            " `..`, names that begin with a dot, and `/` at either end"
        )
    return value


def _check_names(value: str) -> str:
    if re.fullmatch(_NAMES, value) is None:
        raise ValueError(f"`{shown(value)}` is no pattern of names: write a name, or one such as `items-*`")
    return value


def _check_customer(value: str) -> str:
    if value != EVERY and re.fullmatch(r"[a-z0-9-]{1,63}", value) is None:
        raise ValueError(f'`{shown(value)}` is no customer: write a name, or `"*"` for all')
    return value


Directory = Annotated[
    str, AfterValidator(_check_directory), Field(json_schema_extra={"pattern": f"^{_DIRECTORY}$"})
]
NamesText = Annotated[
    str, AfterValidator(_check_names), Field(json_schema_extra={"pattern": f"^({_NAMES})$"})
]
CustomerText = Annotated[
    str, AfterValidator(_check_customer), Field(json_schema_extra={"pattern": r"^(\*|[a-z0-9-]{1,63})$"})
]


@model
class ScopeSpec(Model):
    """What the documents of one directory may speak about."""

    directory: Directory = Field(
        description="Path below a directory of `--policies`; every document in it belongs to this scope."
    )
    hosts: Unlike[HostText] = Field(
        description='Hosts that its documents may name; `*.x` covers every host below `x`, `"*"` all.'
    )
    kinds: Unlike[ScopedKind] = Field(
        default=("Policy", "Limit", "PolicyTest"), description="Kinds of documents that it may hold."
    )
    names: Unlike[NamesText] | None = Field(
        default=None,
        description="Names that its documents may have, `prefix-*` too; default: the scope's name, and that"
        " name with `-*`.",
    )
    providers: Unlike[Name] | None = Field(
        default=None,
        description="Identity providers that its documents may name or be; default: none.",
    )
    customers: Unlike[CustomerText] | None = Field(
        default=None,
        description='Customers that its documents may speak about, `"*"` for all; default: none.',
    )

"""Every kind of document, and the JSON Schema that editors show.

A document that could be built has legal fields. What several fields must agree on is in `coherence.py`, what
several documents must agree on in `references.py`.

Source: sections 1 and 2 of the contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from authz.policy.kind_identity import ApiKeySpec, CustomerSpec, IdentityProviderSpec
from authz.policy.kind_limit import LimitSpec
from authz.policy.kind_policy import PolicySpec
from authz.policy.kind_scope import ScopeSpec
from authz.policy.kind_site import SiteSpec
from authz.policy.kind_test import PolicyTestSpec
from authz.policy.shape import Metadata, Model, model

API_VERSION = "policy.authz/v1alpha1"
SCHEMA_ID = "https://json-schema.org/draft/2020-12/schema"

_Version = Annotated[Literal["policy.authz/v1alpha1"], Field(description="Version of the contract.")]


@model
class _Written(Model):
    """What every document says before its spec."""

    api_version: _Version
    metadata: Metadata


@model
class Policy(_Written):
    """Rules for some hosts: who may do what."""

    kind: Literal["Policy"]
    spec: PolicySpec


@model
class Site(_Written):
    """How requests for some hosts are read and refused."""

    kind: Literal["Site"]
    spec: SiteSpec


@model
class IdentityProvider(_Written):
    """How callers prove who they are."""

    kind: Literal["IdentityProvider"]
    spec: IdentityProviderSpec


@model
class ApiKey(_Written):
    """One API key; holds no secret and is safe in Git."""

    kind: Literal["ApiKey"]
    spec: ApiKeySpec


@model
class Customer(_Written):
    """What holds for all credentials of one customer."""

    kind: Literal["Customer"]
    spec: CustomerSpec


@model
class Limit(_Written):
    """How often a caller may ask."""

    kind: Literal["Limit"]
    spec: LimitSpec


@model
class PolicyTest(_Written):
    """Requests with known answers."""

    kind: Literal["PolicyTest"]
    spec: PolicyTestSpec


@model
class Scope(_Written):
    """Which directory may speak about what. It stands only in a directory of `--scopes`."""

    kind: Literal["Scope"]
    spec: ScopeSpec


Written = Policy | Site | IdentityProvider | ApiKey | Customer | Limit | PolicyTest | Scope
_MODELS = (Policy, Site, IdentityProvider, ApiKey, Customer, Limit, PolicyTest, Scope)

KINDS: Mapping[str, type[Written]] = MappingProxyType({model.__name__: model for model in _MODELS})
READERS: Mapping[str, TypeAdapter[Written]] = MappingProxyType(
    {kind: TypeAdapter(model) for kind, model in KINDS.items()}
)
LATER_KINDS = frozenset(("Data", "SigningKey"))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a document: one union by `kind`."""
    union: TypeAdapter[Written] = TypeAdapter(Annotated[Written, Field(discriminator="kind")])
    schema = union.json_schema(by_alias=True, schema_generator=_Schema)
    schema.pop("discriminator", None)  # OpenAPI's word; each branch names its kind
    return {"$schema": SCHEMA_ID, "title": "authz documents", "required": ["apiVersion", "kind"]} | schema


class _Schema(GenerateJsonSchema):
    """Pydantic's generator, less what says nothing to an editor."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])  # an empty value is an error in every document

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default", ...) in (None, {}):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

"""The types of the small texts of documents: one check and one JSON Schema each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from authz.model.reason import Coarse
from authz.policy import texts
from authz.policy.host import parse_host
from authz.policy.path import parse_path

_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


@dataclass(frozen=True, slots=True)
class _Text:
    """A text with a check, and what an editor can know of it."""

    check: Callable[[str], object]  # raises ValueError; the document keeps what was written
    schema: dict[str, Any] = field(default_factory=dict, hash=False)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._keep, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string"} | self.schema

    def _keep(self, value: str) -> str:
        self.check(value)
        return value


def _like(pattern: str, what: str, *, quoted: bool = True) -> _Text:
    """Describe a text by a regular expression, which editors understand too.

    SECURITY: where `quoted` is False, what stands there is never repeated in a fault, which ends up in logs:
    the likeliest mistake there is a whole token or a secret.
    """
    matches = re.compile(pattern).fullmatch

    def check(value: str) -> None:
        if matches(value) is None:
            raise ValueError(f"{f'`{texts.shown(value)}`' if quoted else 'this'} is not {what}")

    return _Text(check, {"pattern": f"^{pattern}$"})


Name = Annotated[str, _like(r"[a-z0-9-]{1,63}", "a name: write `a-z`, `0-9` and `-`, at most 63")]
KeyId = Annotated[
    str, _like(r"[0-9A-Za-z]{12}", "a key id: it has 12 characters of `0-9A-Za-z`", quoted=False)
]
Digest = Annotated[
    str,  # of 32 bytes: the last character carries four bits
    _like(
        r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]",
        "a digest: it has 43 characters of unpadded base64url",
        quoted=False,
    ),
]
Fingerprint = Annotated[
    str, _like(r"[0-9a-f]{8}", "a fingerprint: it has 8 characters of `0-9a-f`", quoted=False)
]
Scope = Annotated[
    str,  # RFC 6749, section 3.3
    _like(r"[!#-\[\]-~]{1,256}", "a scope: write visible ASCII without space, quote and backslash"),
]
RateText = Annotated[
    str,
    _like(
        r"[1-9][0-9]{0,8}/(s|min|h|d)",
        "a rate: write a whole number and a unit, such as `100/s`, `60/min`, `10/h` or `5/d`",
    ),
]
Token = Annotated[str, _like(texts.TOKEN, "a token: write letters, digits and `-`")]
Service = Annotated[
    str,
    _like(
        rf"{_IDENTIFIER}(\.{_IDENTIFIER})*",
        "a gRPC service: write its full name, such as `shop.v1.Orders`",
    ),
]
RpcMethod = Annotated[str, _like(_IDENTIFIER, "a gRPC method: write its name, such as `Get`")]
LabelKey = Annotated[
    str, _like(r"[A-Za-z0-9._/-]{1,63}", "a label's name: write letters, digits and `._/-`, at most 63")
]
Line = Annotated[
    str, _like(r"[^\x00-\x1f\x7f-\x9f]{1,256}", "one line of at most 256 characters: shorten it")
]
HeaderValue = Annotated[
    str,
    _like(r"[!-~]([ -~]{0,4094}[!-~])?", "a header value: write visible ASCII, at most 4096 characters"),
]

_TOLD = (*(told.value for told in Coarse), "default")
Told = Annotated[
    str,
    _like(
        f"({'|'.join(_TOLD)})",
        f"what a client is told: write one of {', '.join(f'`{one}`' for one in _TOLD)}",
    ),
]

Method = Annotated[str, _Text(texts.check_method, {"pattern": "^[A-Z][A-Z0-9_-]{0,31}$"})]
Upgrade = Annotated[str, _Text(texts.check_upgrade, {"pattern": f"^{texts.LOWER_TOKEN}$"})]
HostText = Annotated[str, _Text(parse_host, {"minLength": 1, "maxLength": 320})]
PathText = Annotated[str, _Text(parse_path, {"pattern": "^/"})]
Peer = Annotated[str, _Text(texts.check_peer, {"pattern": "^[ -~]{1,2048}$"})]
Network = Annotated[str, _Text(texts.check_network, {"pattern": "^[0-9a-f:.]+/[0-9]{1,3}$"})]
Url = Annotated[str, _Text(texts.check_url, {"pattern": "^https?://", "format": "uri"})]
Expression = Annotated[str, _Text(texts.check_expression, {"minLength": 1})]
SettableHeader = Annotated[str, _Text(texts.check_settable, {"pattern": f"^{texts.LOWER_TOKEN}$"})]
CredentialHeader = Annotated[str, _Text(texts.check_credential_header, {"pattern": f"^{texts.LOWER_TOKEN}$"})]
RefusalHeader = Annotated[str, _Text(texts.check_refusal_header, {"pattern": f"^{texts.LOWER_TOKEN}$"})]
Instant = Annotated[
    datetime,  # in UTC
    PlainValidator(texts.check_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": f"^{texts.TIME}$"}),
]

_Item = TypeVar("_Item")
Some = Annotated[tuple[_Item, ...], Field(min_length=1)]  # at least one
Unlike = Annotated[tuple[_Item, ...], Field(min_length=1), AfterValidator(texts.check_unique)]  # none twice

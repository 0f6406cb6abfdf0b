"""Cross-origin rules for Envoy's own cors filter: a small file, read strictly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from authz.model.errors import ConfigError

FORMAT = """\
allow_origins:              # required
  - https://app.example.com
  - https://*.example.com   # any subdomain
allow_methods:              # default: GET, HEAD, POST
  - GET
allow_headers:              # that a script may send; default: none
  - x-api-key
expose_headers:             # that a script may read; default: none
  - x-authz-decision-id
max_age: 600                # seconds, the default
allow_credentials: false    # the default; true: cookies are sent
"""
"""The file that `--cors` reads, as an example."""

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]  # token, RFC 9110 section 5.6.2
_ORIGIN = re.compile(r"(https?)://(\*\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)*)(:\d{1,5})?")  # RFC 6454 section 6.2


class CorsRules(BaseModel):
    """What a browser's script of another origin may do. Field names are those of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    allow_origins: Annotated[list[str], Field(min_length=1)]
    allow_methods: list[_Name] = ["GET", "HEAD", "POST"]
    allow_headers: list[_Name] = []
    expose_headers: list[_Name] = []
    max_age: Annotated[int, Field(ge=0, le=86_400)] = 600
    allow_credentials: bool = False


def read_cors(path: Path) -> CorsRules:
    """Read a cors file.

    Raises:
        ConfigError: it cannot be read, or says something that it may not.
    """
    try:
        rules = CorsRules.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as fault:
        words = (fault.strerror or "cannot be read").lower()
        raise ConfigError(f"--cors: {path}: {words}; name a file that can be read") from fault
    except (UnicodeDecodeError, yaml.YAMLError) as fault:
        raise ConfigError(f"--cors: {path} cannot be read as YAML; {_first_line(fault)}") from fault
    except ValidationError as fault:
        raise ConfigError(
            f"--cors: {path}: {_first_error(fault)}; see `authz envoy config --help`"
        ) from fault
    for origin in rules.allow_origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(
                f"--cors: {path}: `{origin}` is not an origin; write scheme and host, `https://app.example.com`"
            )
    return rules


def origin_pattern(origin: str) -> str | None:
    """Return the regular expression of an origin with a wildcard, or None where it is exact.

    SECURITY: the dot before the suffix is part of the match, or `https://evilexample.com` would pass; and
    only name characters stand for the wildcard, or `https://evil.net/.example.com` would.
    """
    match = _ORIGIN.fullmatch(origin)
    if match is None or not match[2]:
        return None
    return f"{match[1]}://([a-z0-9-]+\\.)+{re.escape(match[3] + (match[4] or ''))}"


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split())


def _first_error(fault: ValidationError) -> str:
    error = fault.errors()[0]
    where = ".".join(str(part) for part in error["loc"])
    return f"`{where}`: {error['msg'].lower()}" if where else error["msg"].lower()

"""Where settings come from: a TOML file, the environment, flags. Each becomes a layer; unknown names stop us.

A layer is `{room: {key: raw value}}`. Layers are laid over each other by pydantic-settings, the later wins.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from authz.config.values import printable
from authz.model.errors import ConfigError

PREFIX = "AUTHZ_"
CONFIG_ENV = "AUTHZ_CONFIG"
DEFAULT_FILE = Path("authz.toml")
FILE_MAX_BYTES = 1024 * 1024

# Kubernetes sets these in every pod, for each Service of the name space: one called `authz` must not stop us.
_SERVICE_LINK = re.compile(
    r"AUTHZ_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)

Layer = dict[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its name everywhere and what it means."""

    name: str
    room: str
    env: str
    flag: str  # "" where the command line has none
    secret: bool
    required: bool
    default: object
    meaning: str


def keys_of(settings: type[BaseModel]) -> dict[str, Key]:
    """List every setting of a class of rooms, by name. A name used by two rooms is our bug."""
    keys: dict[str, Key] = {}
    for room, field in settings.model_fields.items():
        rooms_class = field.annotation
        if not (isinstance(rooms_class, type) and issubclass(rooms_class, BaseModel)):
            continue
        for name, info in rooms_class.model_fields.items():
            if name in keys:
                raise ValueError(f"two rooms have a setting `{name}`")
            keys[name] = _key(name, room, info)
    return keys


def _key(name: str, room: str, info: FieldInfo) -> Key:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return Key(
        name=name,
        room=room,
        env=str(extra.get("env", PREFIX + name.upper())),
        flag="--" + name.replace("_", "-") if extra.get("flag") else "",
        secret=bool(extra.get("secret")),
        required=info.default is PydanticUndefined,
        default=info.default,
        meaning=info.description or "",
    )


def read_file(path: Path, keys: Mapping[str, Key]) -> Layer:
    """Read the TOML file: the keys stand at its top level, as flags have them, with `_` for `-`."""
    for name, value in (table := _toml(path)).items():
        key = keys.get(name)
        if key is None:
            raise ConfigError(f"{path}: `{printable(name)}` is no setting; {nearest(name, keys)}")
        if key.secret:
            raise ConfigError(
                f"{path}: `{name}` is a secret and has no place in this file; set {key.env} in the"
                " environment, or write it to a file of that name in the directory `secrets`"
            )
        if value in ("", []):
            raise ConfigError(f"{path}: `{name}` is empty; give it a value or take it out")
    return layer((keys[name], value) for name, value in table.items())


def _toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_MAX_BYTES + 1)
        if len(text) > FILE_MAX_BYTES:
            raise ConfigError(f"{path}: is larger than 1 MiB; a settings file has a few lines")
        return tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        words = (error.strerror or "cannot be read").lower()
        raise ConfigError(f"{path}: {words}; name a file that can be read, or none") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is no TOML: {printable(str(error)).lower()}; mend that line") from None


def read_environment(environ: Mapping[bytes, bytes], keys: Mapping[str, Key]) -> Layer:
    """Read the environment: our fixed names and everything that begins with `AUTHZ_`."""
    by_env = {key.env.encode(): key for key in keys.values()}
    known = {key.env for key in keys.values()} | {CONFIG_ENV}
    for name in environ:
        if name.startswith(PREFIX.encode()) and name not in by_env:
            _refuse_unknown(name.decode("utf-8", "replace"), known)
    return layer((key, _value(key, environ[name])) for name, key in by_env.items() if name in environ)


def _refuse_unknown(name: str, known: set[str]) -> None:
    if name != CONFIG_ENV and not _SERVICE_LINK.fullmatch(name):
        raise ConfigError(f"environment: `{printable(name)}` is no setting; {nearest(name, known)}")


def _value(key: Key, raw: bytes) -> object:
    if key.secret:
        return raw  # SECURITY: as it stands; no decoding, no stripping
    if not raw.strip():
        raise ConfigError(f"{key.env}: is empty; give it a value or unset it")
    try:
        return raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ConfigError(f"{key.env}: is not UTF-8; write it again") from None


def read_flags(flags: Mapping[str, object], keys: Mapping[str, Key]) -> Layer:
    """Read flags by their names with `_`. None and an empty list mean that the flag was not given."""
    given = {
        name: value for name, value in flags.items() if value is not None and value != [] and value != ()
    }
    for name in given:
        if name not in keys or keys[name].secret:
            raise ConfigError(f"flags: `{printable(name)}` is no flag; {nearest(name, keys)}")
    return layer((keys[name], value) for name, value in given.items())


def layer(pairs: Iterable[tuple[Key, object]]) -> Layer:
    """Sort values into their rooms."""
    sorted_out: Layer = {}
    for key, value in pairs:
        sorted_out.setdefault(key.room, {})[key.name] = value
    return sorted_out


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which name was meant. The prefix says nothing: `AUTHZ_LOG_LEVEL` is meant for `LOG_LEVEL`."""
    by_bare = {full.removeprefix(PREFIX): full for full in known}
    close = difflib.get_close_matches(name.removeprefix(PREFIX), sorted(by_bare), n=1)
    return f"did you mean `{by_bare[close[0]]}`?" if close else "docs/settings.md lists them all"


def faults(
    errors: Iterable[ErrorDetails], keys: Mapping[str, Key], named: Mapping[str, str]
) -> Iterator[str]:
    """Turn what pydantic found into our sentences: `where: what; what to do`.

    Args:
        named: key -> where its value came from, in the user's words.
    """
    for error in errors:
        key = keys[str(error["loc"][1])]
        where = named.get(key.name, key.name)
        yield f"{where}: {_what(error, key)}"


def _what(error: ErrorDetails, key: Key) -> str:
    own = error.get("ctx", {}).get("error")
    words = str(own) if isinstance(own, ValueError) else error["msg"][:1].lower() + error["msg"][1:]
    # SECURITY: a secret's value is never repeated, not even a wrong one.
    if key.secret or isinstance(own, ValueError):
        return words
    return f"`{printable(str(error['input']))}`: {words}"

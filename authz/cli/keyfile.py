"""The file of one API key: read whole, changed as plain data, written canonically and at once.

It holds no secret. It may be a file that the sidecar is watching, so a reader sees the old text or the new
one and never half of either.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from authz.model.errors import ConfigError, SnapshotRejected
from authz.policy.document import API_VERSION
from authz.policy.kind_identity import ApiKeySpec
from authz.policy.layout.layout import formatted
from authz.policy.loaded import Document
from authz.policy.reading import read_page
from authz.policy.shape import written_names
from authz.policy.yaml import MAX_FILE_BYTES

Data = dict[str, Any]  # any: what a YAML document holds, checked by `checked` before it is written

_ORDER = (
    ("apiVersion", "kind", "metadata", "spec"),
    ("name", "labels", "annotations"),
    written_names(ApiKeySpec),
    ("version", "pepper", "digest", "expiresAt"),
)


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 or 1.2 would read as anything but a text; a time is a text in ours."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library declares it so
        first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
        for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


# A number in YAML 1.2 and a text in 1.1: one fingerprint in some thousands looks so.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z|0o[0-7]+\Z"),
    list("-+0123456789"),
)


def new(name: str, spec: Data) -> Data:
    """Return an ApiKey document; what is empty is left out."""
    filled = {field: value for field, value in spec.items() if value not in (None, [], {})}
    return {"apiVersion": API_VERSION, "kind": "ApiKey", "metadata": {"name": name}, "spec": filled}


def read(path: Path) -> Document[ApiKeySpec]:
    """Return the one ApiKey document of a file.

    Raises:
        ConfigError: the file cannot be read, or holds anything else.
        SnapshotRejected: the document has faults.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {_words(error)}; name the file of one API key") from None
    return _only_key(str(path), content)


def written(data: Data) -> str:
    """Return a document as canonical text: fixed order of fields, block style."""
    return yaml.dump(
        _ordered(data),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=4096,
        default_flow_style=False,
    )


def checked(data: Data) -> str:
    """Return the canonical text of a document that reads back without a fault.

    Raises:
        SnapshotRejected: what is wrong with it.
    """
    content = written(data).encode()
    _only_key("ApiKey", content)
    return formatted(content, "ApiKey").decode()


def create(path: Path, text: str) -> None:
    """Write a new file, and refuse to replace anything.

    Raises:
        ConfigError: something of that name is there, or it cannot be written.
    """
    with _refusals(path), _beside(path, text, 0o644) as temporary:
        os.link(temporary, path)  # unlike a rename, it fails where the name is taken
        temporary.unlink()


def replace(path: Path, text: str) -> None:
    """Replace the text of a file in one step; its mode stays, and a link to it stays a link.

    Raises:
        ConfigError: it cannot be written.
    """
    with _refusals(path):
        target = path.resolve(strict=True)
        with _beside(target, text, target.stat().st_mode & 0o7777, exactly=True) as temporary:
            temporary.replace(target)


def _only_key(file: str, content: bytes) -> Document[ApiKeySpec]:
    page = read_page(file, content)
    if page.faults:
        raise SnapshotRejected(list(page.faults))
    if [leaf.kind for leaf in page.leaves] != ["ApiKey"]:
        kinds = ", ".join(leaf.kind for leaf in page.leaves)
        raise ConfigError(f"{file}: holds {kinds}; the file of a key holds exactly one ApiKey, split it")
    return Document(page.leaves[0], page, 0)


def _ordered(data: Data) -> Data:
    """Sort the fields of a document as people read them."""
    top, metadata, spec, secret = _ORDER
    ordered = _by(top, data)
    ordered["metadata"] = _by(metadata, data["metadata"])
    ordered["spec"] = _by(spec, data["spec"])
    newest_first = sorted(data["spec"]["secrets"], key=lambda kept: -int(kept["version"]))
    ordered["spec"]["secrets"] = [_by(secret, kept) for kept in newest_first]
    return ordered


def _by(order: tuple[str, ...], data: Mapping[str, Any]) -> Data:
    return {name: data[name] for name in order if name in data}


@contextmanager
def _beside(path: Path, text: str, mode: int, *, exactly: bool = False) -> Iterator[Path]:
    """Write a text beside a file, durably, under a name that no reader of documents looks at."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if exactly:
                os.fchmod(descriptor, mode)  # whatever the umask says: the file had it before
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        yield temporary
        _sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise ConfigError(f"{path}: is there already; name a new file, or use `authz key rotate`") from None
    except OSError as error:
        raise ConfigError(
            f"{path}: {_words(error)}; name a file in a directory that can be written"
        ) from None


def _words(error: OSError) -> str:
    return (error.strerror or "cannot be used").lower()

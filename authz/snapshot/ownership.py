"""Which files belong to which scope: by the directory that its Scope document names.

Pure: names alone are compared, as the reading gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from authz.model.errors import Place, PolicyError
from authz.policy.scopes import Bounds
from authz.snapshot.parts import PLATFORM, Files, part_of_scope
from authz.snapshot.scan import SCOPE_MAX_BYTES, SCOPE_MAX_FILES


class Ownership:
    """Tells the part of each file.

    Args:
        roots: the directories of `--policies`, as the operator named them.
    """

    def __init__(self, roots: Sequence[str], scopes: Iterable[Bounds]) -> None:
        self._roots = tuple(f"{root.rstrip('/')}/" for root in roots)
        self._owners = {scope.spec.directory: scope.name for scope in scopes}
        self._known: dict[str, str] = {}  # directory of files -> scope; there are far fewer than files

    def scope_of(self, file: str) -> str:
        """Return the scope that a file belongs to, "" where it is the platform's."""
        directory = file.rpartition("/")[0]
        known = self._known.get(directory)
        if known is None:
            known = self._known[directory] = self._scope_of(directory) if self._owners else ""
        return known

    def part_of(self, file: str) -> str:
        """Return the part that a file belongs to."""
        return part_of_scope(self.scope_of(file))

    def is_below(self, file: str) -> bool:
        """Whether a name is one below a directory of `--policies`, and not that of one itself."""
        return any(map(file.startswith, self._roots))

    def directories(self) -> Iterator[tuple[str, str]]:
        """Yield every directory that may hold documents of a scope, with the scope."""
        for directory, owner in self._owners.items():
            for root in self._roots:
                yield root + directory, owner

    def _scope_of(self, directory: str) -> str:
        for root in self._roots:
            if directory.startswith(root):
                found = ""
                for segment in directory[len(root) :].split("/"):
                    found = f"{found}/{segment}" if found else segment
                    if found in self._owners:
                        return self._owners[found]
        return ""


def split(files: Files, ownership: Ownership) -> dict[str, Files]:
    """Return the files of the platform and of each scope, each with its own faults."""
    contents: dict[str, dict[str, bytes]] = {PLATFORM: {}}
    faults: dict[str, list[PolicyError]] = {}
    for _, owner in ownership.directories():
        contents.setdefault(part_of_scope(owner), {})
    for name, content in files.contents.items():
        contents[ownership.part_of(name)][name] = content
    for fault in files.faults:
        faults.setdefault(ownership.part_of(fault.place.file), []).append(fault)
    for part, fault in _strange_links(files.links, ownership):
        faults.setdefault(part, []).append(fault)
    for directory, owner in ownership.directories():
        part = part_of_scope(owner)
        faults.setdefault(part, []).extend(_too_much(directory, contents[part]))
    return {part: Files(own, tuple(faults.get(part, ())), files.roots) for part, own in contents.items()}


def _too_much(directory: str, contents: Mapping[str, bytes]) -> Iterator[PolicyError]:
    """A scope that is known is held to its bounds before it is read; one that is new, here."""
    if len(contents) > SCOPE_MAX_FILES:
        yield PolicyError(Place(directory), f"more than {SCOPE_MAX_FILES} files in one scope: split it")
    elif sum(map(len, contents.values())) > SCOPE_MAX_BYTES:
        yield PolicyError(Place(directory), f"more than {SCOPE_MAX_BYTES} bytes in one scope: split it")


def _strange_links(links: Mapping[str, str], ownership: Ownership) -> Iterator[tuple[str, PolicyError]]:
    """Yield the links that lead from one part into another.

    SECURITY: a file counts once, under one name. A link could give a document the rights of a directory that
    it does not stand in, or take it away from the part that needs it.
    """
    places = {directory: real_path(directory, links) for directory, _ in ownership.directories()}
    owner_at = {places[directory]: (directory, owner) for directory, owner in ownership.directories()}
    above = {upper: directory for real, (directory, _) in owner_at.items() for upper in _uppers(real)}
    for link, target in links.items():
        owner = ownership.scope_of(link)
        if owner:
            home = next(place for directory, place in places.items() if link.startswith(f"{directory}/"))
            if target != home and not target.startswith(f"{home}/"):
                what = f"a link out of the directory of the scope `{owner}`: copy the file"
                yield part_of_scope(owner), PolicyError(Place(link), what)
            continue
        inside = next((owner_at[upper] for upper in (target, *_uppers(target)) if upper in owner_at), None)
        reached = inside[0] if inside else above.get(target, "")
        if reached and not f"{reached}/".startswith(f"{link.rstrip('/')}/"):
            what = f"a link to documents of a scope, which stand in `{reached}`: remove it"
            yield PLATFORM, PolicyError(Place(link), what)


def real_path(name: str, links: Mapping[str, str]) -> str:
    """Return where a name leads: the nearest link above it, and the way below that."""
    for upper in (name, *_uppers(name)):
        if upper in links:
            return links[upper] + name[len(upper) :]
    return name


def _uppers(path: str) -> Iterator[str]:
    upper = path.rpartition("/")[0]
    while upper:
        yield upper
        upper = upper.rpartition("/")[0]

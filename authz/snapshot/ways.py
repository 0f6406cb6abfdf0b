"""How a name leads to a file: every link on the way, since each may be swapped for another.

`--policies /git/current/policies`, where `current` is a link: what stands there changes when `/git/current`
does, and nothing below it tells of that.
"""

from __future__ import annotations

import errno
import os

LINKS_MAX = 40  # on one way, as in the kernel. Source: path_resolution(7)


class Ways:
    """Resolves names, and remembers what they led through.

    Args of the result:
        links: every link that was followed, as `real directory/name`.
        missing: names that were not there, likewise.
    """

    def __init__(self) -> None:
        self.links: set[str] = set()
        self.missing: set[str] = set()
        self._known: dict[str, str] = {}  # directories of one set are few, its files many

    def resolve(self, path: str) -> str:
        """Return the real path of something that is there.

        Args:
            path: absolute.

        Raises:
            OSError: something on the way is not there, or is no directory, or the links lead in a circle.
        """
        return self._resolve(path, LINKS_MAX)

    def _resolve(self, path: str, hops: int) -> str:
        parent, name = os.path.split(path.rstrip("/"))
        if not name:
            return "/"
        above = self._known.get(parent)
        if above is None:
            above = self._resolve(parent, hops)
            self._known[parent] = above
        if name == ".":
            return above
        if name == "..":
            return os.path.dirname(above)  # noqa: PTH120 - text: what it names is real, so this is its parent
        return self._follow(f"{above.rstrip('/')}/{name}", above, hops)

    def _follow(self, full: str, above: str, hops: int) -> str:
        try:
            target = os.readlink(full)  # noqa: PTH115 - half of the cost of a scan is here
        except FileNotFoundError:
            self.missing.add(full)
            raise
        except OSError as error:
            if error.errno == errno.EINVAL:
                return full  # no link
            raise
        self.links.add(full)
        if not hops:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return self._resolve(os.path.join(above, target), hops - 1)  # noqa: PTH118 - likewise

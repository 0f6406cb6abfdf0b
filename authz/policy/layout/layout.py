"""Documents in their one written form: `authz policy fmt`.

    order        fields as in the contract; names that authors choose, and lists, stay as they are
    brackets     stay where the author wrote them, fit on one line and hold no comment; else one entry a line
    quotes       none around plain words; else double, or single where a text holds a double quote
    indentation  two spaces, lists too; one empty line at most between entries; `---` only between documents
    comments     stay beside or above the entry that they stood beside or above

INVARIANT: the text that comes out says what went in: the same documents, byte for byte as data, and the same
comments. It is checked before it is returned, so a fault in here costs a refusal and not a policy.
"""

from __future__ import annotations

from collections.abc import Sequence

from authz.policy.layout.order import Shape, below, order_of, root
from authz.policy.layout.scalar import scalar_text
from authz.policy.layout.tree import Comment, Entry, Node, Page, pages_of
from authz.policy.yaml import Data, Parsed, parse

WIDTH = 120  # characters; what is in brackets and longer gets a line for each entry
_STEP = 2


class Unformatted(ValueError):
    """A text that cannot be formatted; the message says why. Never leaves `policy/` and `cli/`."""


def formatted(content: bytes, file: str) -> bytes:
    """Return a file in its written form.

    Raises:
        Unformatted: it has faults, or something in it cannot be kept.
    """
    parsed = parse(content, file)
    for fault in parsed.faults:
        raise Unformatted(f"{fault.place.line}:{fault.place.column}: {fault.what}")
    text = content.decode("utf-8").replace("\r\n", "\n")
    done = _written(text)
    again = parse(done.encode(), file)
    if again.faults or _data(again) != _data(parsed) or _remarks(done) != _remarks(text):
        raise Unformatted("it would say something else when formatted: please report this, and leave it")
    if _written(done) != done:
        raise Unformatted("formatting it twice gives two texts: please report this, and leave it")
    return done.encode("utf-8")


def _data(parsed: Parsed) -> list[Data]:
    return [tree.data for tree in parsed.trees]


def _remarks(text: str) -> list[str]:
    found: list[str] = []
    for page in pages_of(text):
        found += [comment.text for comment in _comments_of(page)]
    return sorted(found)


def _comments_of(page: Page) -> list[Comment]:
    found = list(page.head)
    for node in page.root.walk() if page.root is not None else ():
        found += node.foot
        for entry in node.entries:
            found += entry.lead + ([entry.trail] if entry.trail is not None else [])
    return found


def _written(text: str) -> str:
    return "---\n".join(_Writer(page).text() for page in pages_of(text))


class _Writer:
    """Writes one document."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lines: list[str] = []
        # Where one value refers to another, the order of the two matters.
        nodes = list(page.root.walk()) if page.root is not None else []
        self._ordered = not any(node.anchor or node.kind == "alias" for node in nodes)
        self._remarked = {id(node) for node in nodes if _has_remarks(node)}

    def text(self) -> str:
        """Return the document's lines."""
        self._comments(self._page.head, 0)
        node = self._page.root
        if node is not None and node.kind == "map":
            if self._page.gap:
                self._lines.append("")
            self._entries(node, 0, root(_kind(node)))
        elif node is not None:
            self._lines.append(self._inline(node, {}) or "")
        while self._lines and not self._lines[0]:
            self._lines.pop(0)
        return "".join(f"{line}\n" for line in self._lines)

    def _comments(self, comments: Sequence[Comment], indent: int) -> None:
        for comment in comments:
            if comment.gap and self._lines and self._lines[-1]:
                self._lines.append("")
            self._lines.append(" " * indent + comment.text)

    def _entries(self, node: Node, indent: int, shape: Shape, *, hoisted: bool = False) -> None:
        """Write a collection, one entry a line.

        Args:
            hoisted: what stands above the first entry was written above its item.
        """
        for number, entry in enumerate(self._in_order(node, shape)):
            first = number == 0
            if not (first and hoisted):
                self._comments(entry.lead, indent)
            if entry.gap and (not first or (entry.lead and not hoisted)) and self._lines[-1]:
                self._lines.append("")
            self._entry(entry, indent, _inside(shape, entry))
        self._comments(node.foot, indent)

    def _in_order(self, node: Node, shape: Shape) -> list[Entry]:
        order = {name: number for number, name in enumerate(order_of(shape))} if self._ordered else {}
        if node.kind != "map" or not order:
            return node.entries
        return sorted(node.entries, key=lambda one: order.get(one.key.value if one.key else "", len(order)))

    def _entry(self, entry: Entry, indent: int, shape: Shape) -> None:
        value = entry.value
        mark = f"{scalar_text(entry.key)}:" if entry.key is not None else "-"
        prefix = f"{' ' * indent}{mark}{f' &{value.anchor}' if value.anchor else ''}"
        line = self._inline(value, shape)
        room = WIDTH - len(prefix) - 1
        if value.style in ("|", ">") and self._block(entry, prefix, indent):
            return
        if line is not None and (len(line) <= room or value.kind == "scalar"):
            self._lines.append(self._beside(f"{prefix} {line}", entry.trail))
        elif value.kind == "scalar":
            self._folded(entry, prefix, indent)
        elif entry.key is not None or value.anchor:
            self._lines.append(self._beside(prefix, entry.trail))
            self._entries(value, indent + _STEP, shape)
        else:
            self._item(entry, indent, shape)

    def _item(self, entry: Entry, indent: int, shape: Shape) -> None:
        """Write a collection that is an item of a list: its first entry stands behind the dash."""
        if entry.trail is not None:
            self._comments([entry.trail], indent)
        first = self._in_order(entry.value, shape)[0]
        self._comments(first.lead, indent)
        at = len(self._lines)
        self._entries(entry.value, indent + _STEP, shape, hoisted=True)
        self._lines[at] = f"{' ' * indent}- {self._lines[at].lstrip()}"

    def _beside(self, line: str, comment: Comment | None) -> str:
        """Put a comment behind a line, in the column where it stood if there is room."""
        if comment is None:
            return line
        return f"{line}{' ' * max(2, comment.column - len(line))}{comment.text}"

    def _inline(self, node: Node, shape: Shape) -> str | None:
        """Return a value on one line, or None where it takes several."""
        if node.kind == "alias":
            return f"*{node.value}"
        if node.kind == "scalar":
            several = "\n" in node.raw and (node.style in ("|", ">") or _folds(node))
            return None if several else scalar_text(node)
        if node.entries and (not node.flow or id(node) in self._remarked):
            return None
        parts = [self._member(entry, shape) for entry in self._in_order(node, shape)]
        if None in parts:
            return None
        inner = ", ".join(part for part in parts if part is not None)
        return f"{{{inner}}}" if node.kind == "map" else f"[{inner}]"

    def _member(self, entry: Entry, shape: Shape) -> str | None:
        value = self._inline(entry.value, _inside(shape, entry))
        if value is None:
            return None
        value = f"&{entry.value.anchor} {value}" if entry.value.anchor else value
        return f"{scalar_text(entry.key)}: {value}" if entry.key is not None else value

    def _block(self, entry: Entry, prefix: str, indent: int) -> bool:
        """Write a text that has lines of its own, as the author broke them."""
        head, _, rest = entry.value.raw.partition("\n")
        header = head.partition("#")[0].strip()
        if header.strip("|>-") or not rest.strip():
            self._lines.append(self._beside(f"{prefix} {scalar_text(entry.value)}", entry.trail))
            return True
        lines = rest.rstrip("\n").split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        cut = min(len(line) - len(line.lstrip(" ")) for line in lines if line.strip())
        self._lines.append(self._beside(f"{prefix} {header}", entry.trail))
        self._lines += [
            f"{' ' * (indent + _STEP)}{line[cut:]}".rstrip(" ") if line.strip() else "" for line in lines
        ]
        return True

    def _folded(self, entry: Entry, prefix: str, indent: int) -> None:
        """Write a bare text of several lines, as the author broke them."""
        first, *others = [line.strip() for line in entry.value.raw.split("\n")]
        self._lines.append(f"{prefix} {first}")
        self._lines += [f"{' ' * (indent + _STEP)}{line}" for line in others]
        self._lines[-1] = self._beside(self._lines[-1], entry.trail)


def _kind(node: Node) -> str:
    return next(
        (one.value.value for one in node.entries if one.key is not None and one.key.value == "kind"), ""
    )


def _inside(shape: Shape, entry: Entry) -> Shape:
    return below(shape, entry.key.value if entry.key is not None else 0)


def _folds(node: Node) -> bool:
    """Whether a bare text of several lines is those lines with a space between them."""
    return node.style is None and " ".join(line.strip() for line in node.raw.split("\n")) == node.value


def _has_remarks(node: Node) -> bool:
    return any(each.foot or any(one.lead or one.trail for one in each.entries) for each in node.walk())

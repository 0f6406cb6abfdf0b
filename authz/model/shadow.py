"""What documents in `mode: shadow` would have said. It changes nothing: it is recorded and counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from authz.model.limit import Spend, Spent
from authz.model.reason import Detail


class Would(StrEnum):
    """What one document in shadow would have said about one request."""

    ALLOW = "allow"
    DENY = "deny"
    NONE = "none"  # a policy's rules were asked, and none would have decided
    ERROR = "error"  # an expression failed
    UNDECIDABLE = "undecidable"  # it takes a credential that was not read
    CRASHED = "crashed"  # we broke; the reply had left


class Shade(NamedTuple):
    """One line of `shadow` in a record: a policy, or a limit (of a policy in shadow: with its name)."""

    would: Would
    policy: str = ""
    rule: str = ""
    limit: str = ""
    detail: Detail | None = None
    changes: bool = False  # enforced, this one document would have turned this reply around
    spent: Spent | None = None  # of a limit: how its bucket in shadow stands


class Trial:
    """One bucket of a limit in shadow. It draws by itself: whoever has no room stands in nobody's way.

    All or nothing together would be wrong here. Each document is tried for itself, and one that refuses
    everything would keep the buckets of all others full.

    Args:
        policy: the first policy in shadow whose rule names the limit; "" where an enforcing rule does.
    """

    __slots__ = ("limit", "policies", "policy", "spends", "spent")

    def __init__(self, spend: Spend, policy: str = "") -> None:
        self.limit = spend.limit
        self.policy = policy
        self.policies: list[str] = []  # in shadow, while the limit is not: enforced, it would be theirs
        self.spends = (spend,)
        self.spent: Spent | None = None

    def settle(self, spent: tuple[Spent, ...]) -> None:
        """Take what came of drawing."""
        (self.spent,) = spent

    @property
    def refuses(self) -> bool:
        """Whether the bucket had no room; known once it is settled."""
        return self.spent is not None and not self.spent.passed

    def shade(self) -> Shade:
        """Say what the limit would have done."""
        if self.spent is None:
            return Shade(Would.CRASHED, self.policy, limit=self.limit)
        would = Would.DENY if self.refuses else Would.ALLOW
        changes = self.refuses and not self.policy
        return Shade(would, self.policy, limit=self.limit, changes=changes, spent=self.spent)


@dataclass(slots=True)
class Review:
    """What all documents in shadow say about one request, while their buckets are not drawn from.

    Args:
        shades: what is known already.
        trials: limit -> the bucket that is to be drawn from. Whoever names a limit, it is tried once.
    """

    shades: list[Shade] = field(default_factory=list)
    trials: dict[str, Trial] = field(default_factory=dict)

    def settled(self) -> tuple[Shade, ...]:
        """Return everything that is known, once every trial is settled."""
        if not self.trials:
            return tuple(self.shades)
        shades = self.shades
        refusing = [policy for trial in self.trials.values() if trial.refuses for policy in trial.policies]
        if refusing:
            shades = [
                shade._replace(changes=True) if shade.policy in refusing and not shade.limit else shade
                for shade in shades
            ]
        return (*shades, *[trial.shade() for trial in self.trials.values()])


CRASHED = (Shade(Would.CRASHED),)

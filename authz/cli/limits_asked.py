"""What a command of `authz limits` works with: settings, the policy set, whom is asked about, the stores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import typer

from authz.cli import limits_stores
from authz.cli.endings import NO, USAGE, outside, stop, usage
from authz.cli.policyset import read_set
from authz.config.settings import Settings, load
from authz.limits.redis.keys import Keys
from authz.lookout.census import Census
from authz.lookout.looking import Lookout
from authz.lookout.naming import Directory
from authz.lookout.selection import Selection, Target
from authz.model.errors import StoreUnavailable
from authz.wiring.surroundings import directories


class Wanted(NamedTuple):
    """Whom is asked about."""

    limit: str
    key: str
    customer: str
    namespace: str
    address: str
    values: list[str]


class Asked(NamedTuple):
    """What a command works with."""

    settings: Settings
    census: Census
    keys: Keys
    directory: Directory
    beside: list[str]  # limits that are not counted by who is asked about

    @classmethod
    def of(
        cls,
        policies: list[Path] | None,
        scopes: list[Path] | None,
        overrides: list[Path] | None,
        debug: str | None,
        config: Path | None,
    ) -> Asked:
        """Read settings and the policy set; ends the command where that cannot be done."""
        flags = {"policies": policies, "scopes": scopes, "overrides": overrides, "debug": debug}
        with outside():
            settings = load(flags, os.environb, config)
        if not settings.serve.policies:
            stop("--policies: no directory is named; name those that `serve` has", USAGE)
        found = read_set(directories(settings))
        if found.built is None:
            for part in found.faults:
                typer.echo(str(part.fault), err=True)
            raise typer.Exit(NO)
        census = Census(found.built.loaded, found.built.snapshot.revision)
        keys = Keys(settings.limits.keyspace)
        return cls(settings, census, keys, Directory(census, keys), [])

    def chosen(self, wanted: Wanted) -> list[Target]:
        """Return the buckets that are asked about."""
        given = [bool(one) for one in (wanted.key, wanted.customer, wanted.address, wanted.values)]
        if sum(given) != 1:
            stop("say whose buckets: one of --key, --customer, --address, or --limit with --per", USAGE)
        if wanted.values and not wanted.limit:
            stop("--per: values of which limit? name it with --limit", USAGE)
        with usage():
            selection = Selection(self.census, wanted.limit)
            if wanted.key:
                targets = selection.of_key(wanted.key)
            elif wanted.customer:
                targets = selection.of_customer(wanted.customer, wanted.namespace)
            elif wanted.address:
                targets = selection.of_address(wanted.address)
            else:
                targets = selection.of_values(wanted.values, wanted.namespace)
        self.beside[:] = [limit.name for limit in selection.beside]
        if not targets:
            stop("no limit of this set is counted by that: `authz limits top` shows what is", USAGE)
        return targets

    def said_beside(self) -> list[str]:
        """Say which limits were left out."""
        if not self.beside:
            return []
        names = ", ".join(f"`{name}`" for name in self.beside)
        return [f"counted by something else, so not shown: {names}"]

    @contextmanager
    def lookout(self, visits: int) -> Iterator[Lookout]:
        """Open the stores."""
        shared, redis, trouble = self.settings.limits.redis_url is not None, None, ""
        with outside(), ExitStack() as stack:
            sidecar = limits_stores.sidecar(self.settings, self.keys, wanted=not shared)
            if shared:
                try:
                    redis = stack.enter_context(limits_stores.redis(self.settings, self.keys, visits))
                except StoreUnavailable as error:
                    if sidecar is None:
                        raise
                    trouble = str(error)
            yield Lookout(self.census, self.directory, sidecar, redis, trouble)

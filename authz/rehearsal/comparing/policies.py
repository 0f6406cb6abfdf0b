"""What changes in policies and their rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from authz.policy.host import parse_host
from authz.policy.kind_policy import PolicySpec, Rule
from authz.policy.loaded import Document, Loaded
from authz.rehearsal.comparing.direction import Effect, Voice, of_adding, of_changing, reverse, together
from authz.rehearsal.comparing.facets import Facets, Reader
from authz.rehearsal.comparing.words import Change, between, differing, of_rule, quoted, route, verdict

_Policy = Document[PolicySpec]

# Fields of a policy that no request meets: for people and records.
_SILENT = frozenset(("owner",))


class Policies:
    """The policies of two sets, compared.

    Args:
        overrides: they come first and only deny.
    """

    def __init__(self, old: Loaded, new: Loaded, reader: Reader, *, overrides: bool = False) -> None:
        self._old = {policy.name: policy for policy in old.policies}
        self._new = {policy.name: policy for policy in new.policies}
        self._reader = reader
        self._kind = "Override" if overrides else "Policy"
        self._limits = {limit.name: limit.spec for loaded in (old, new) for limit in loaded.limits}
        self._others: list[Voice] | None = None

    def changes(self) -> Iterator[Change]:
        """Yield what differs, by the names of the policies."""
        renamed = self._renamed()
        taken = set(renamed.values())
        for name in sorted({*self._old, *self._new}):
            old, new = self._old.get(name), self._new.get(name)
            if old is not None and name in renamed:
                new = self._new[renamed[name]]
                words = f"renamed, was {quoted(name)}"
                yield self._change(new, "", words, self._of_renaming(old, new))
            elif old is not None and new is not None:
                if old.canonical != new.canonical:
                    yield from self._changed(old, new)
            elif old is not None:
                yield from self._came(old, came=False)
            elif new is not None and name not in taken:
                yield from self._came(new, came=True)

    def _renamed(self) -> Mapping[str, str]:
        """Return old name -> new name of policies that say the same under another one."""
        gone = [policy for name, policy in self._old.items() if name not in self._new]
        free = {self._meaning(policy): name for name, policy in self._new.items() if name not in self._old}
        found: dict[str, str] = {}
        for policy in gone:
            name = free.pop(self._meaning(policy), None)
            if name is not None:
                found[policy.name] = name
        return found

    def _meaning(self, policy: _Policy) -> frozenset[object]:
        rules = ((rule.name, _frozen(self._reader.facets(rule))) for rule in policy.spec.rules)
        return frozenset((("policy", _frozen(self._reader.facets(policy.spec))), *rules))

    def _of_renaming(self, old: _Policy, new: _Policy) -> Effect:
        """Of several rules that allow, the first by name says what `params` are for headers and limits."""
        if old.spec.mode == "shadow" or not (self._reads_params(old) or self._reads_params(new)):
            return Effect.NONE
        return Effect.EITHER

    def _reads_params(self, policy: _Policy) -> bool:
        sources = list(policy.spec.on_allow.headers.values()) if policy.spec.on_allow is not None else []
        for rule in policy.spec.rules:
            for name in rule.limits or ():
                limit = self._limits[name]
                sources += [*limit.per, limit.cost]
        return any("params" in source for source in sources)

    def _came(self, policy: _Policy, *, came: bool) -> Iterator[Change]:
        """Yield what a whole policy does that is there now, or no longer is."""
        word = "added" if came else "removed"
        if policy.spec.mode == "shadow":
            yield self._change(policy, "", f"{word}, in shadow: decides nothing", Effect.NONE)
            return
        yield from self._speaking(policy, came=came, word="now" if came else "no longer")
        yield from self._told(policy, {}, came=came)

    def _speaking(self, policy: _Policy, *, came: bool, word: str) -> Iterator[Change]:
        for rule in policy.spec.rules:
            effect = of_adding(self._voice(policy, rule), self._allowing())
            what = f"{route(rule, policy.spec.hosts)}: {word} {verdict(rule)}"
            yield self._change(policy, rule.name, what, effect if came else reverse(effect))

    def _told(self, policy: _Policy, facets: Facets, *, came: bool) -> Iterator[Change]:
        """Yield the headers for the application that come or go with a policy."""
        for name, facet in self._reader.facets(policy.spec).items():
            if name.startswith("onAllow."):
                what = between(name, None, facet) if came else between(name, facet, None)
                yield self._change(policy, "", what, Effect.EITHER)

    def _changed(self, old: _Policy, new: _Policy) -> Iterator[Change]:
        if old.spec.mode != new.spec.mode:
            yield from self._other_mode(old, new)
            return
        silent = new.spec.mode == "shadow"
        before, after = self._reader.facets(old.spec), self._reader.facets(new.spec)
        for name in differing(before, after):
            if name == "hosts":
                effect = together(self._of_hosts(old, new))
            else:
                effect = Effect.NONE if name in _SILENT else Effect.EITHER
            what = between(name, before.get(name), after.get(name))
            yield self._change(new, "", what, Effect.NONE if silent else effect)
        for change in self._rules(old, new):
            yield change._replace(effect=Effect.NONE) if silent else change

    def _other_mode(self, old: _Policy, new: _Policy) -> Iterator[Change]:
        """Yield what becomes of rules that begin to decide, or cease to."""
        if new.spec.mode == "enforce":
            yield self._change(new, "", "no longer in shadow: now enforced", Effect.NONE)
            yield from self._speaking(new, came=True, word="now")
            yield from self._told(new, {}, came=True)
        else:
            yield self._change(new, "", "now in shadow: decides nothing", Effect.NONE)
            yield from self._speaking(old, came=False, word="no longer")
            yield from self._told(old, {}, came=False)

    def _of_hosts(self, old: _Policy, new: _Policy) -> Iterable[Effect]:
        """Return what other hosts do to each rule that stays."""
        for rule in old.spec.rules:
            yield of_changing(self._voice(old, rule), self._voice(old, rule, new), self._allowing())

    def _rules(self, old: _Policy, new: _Policy) -> Iterator[Change]:
        before = {rule.name: rule for rule in old.spec.rules}
        after = {rule.name: rule for rule in new.spec.rules}
        renamed = self._renamed_rules(before, after)
        for name, rule in before.items():
            if name in renamed:
                what = f"renamed, was {quoted(name)}"
                yield self._change(new, renamed[name], what, self._of_renaming(old, new))
            elif name in after:
                yield from self._rule(new, rule, after[name])
            else:
                effect = reverse(of_adding(self._voice(new, rule), self._allowing()))
                what = f"{route(rule, new.spec.hosts)}: no longer {verdict(rule)}"
                yield self._change(new, name, what, effect)
        for name, rule in after.items():
            if name not in before and name not in renamed.values():
                what = f"{route(rule, new.spec.hosts)}: now {verdict(rule)}"
                yield self._change(new, name, what, of_adding(self._voice(new, rule), self._allowing()))

    def _renamed_rules(self, before: Mapping[str, Rule], after: Mapping[str, Rule]) -> Mapping[str, str]:
        free = {self._essence(rule): name for name, rule in after.items() if name not in before}
        pairs = (
            (name, free.pop(self._essence(rule), "")) for name, rule in before.items() if name not in after
        )
        return {name: other for name, other in pairs if other}

    def _essence(self, rule: Rule) -> frozenset[object]:
        return _frozen({way: one for way, one in self._reader.facets(rule).items() if way != "name"})

    def _rule(self, policy: _Policy, old: Rule, new: Rule) -> Iterator[Change]:
        before, after = self._reader.facets(old), self._reader.facets(new)
        if differing(before, after):
            what = f"{route(old, policy.spec.hosts)}: {of_rule(before, after)}"
            voices = self._voice(policy, old), self._voice(policy, new)
            yield self._change(policy, new.name, what, of_changing(*voices, self._allowing()))

    def _voice(self, policy: _Policy, rule: Rule, elsewhere: _Policy | None = None) -> Voice:
        hosts = tuple(map(parse_host, (elsewhere or policy).spec.hosts))
        headers, reads = policy.spec.on_allow is not None, self._reads_params(policy)
        return Voice(policy.name, rule, hosts, headers, reads, self._reader.facets(rule))

    def _allowing(self) -> list[Voice]:
        """Return every enforcing allow rule of both sets."""
        if self._others is None:
            self._others = [
                Voice(
                    policy.name,
                    rule,
                    tuple(map(parse_host, policy.spec.hosts)),
                    headers=False,
                    reads_params=False,
                    facets={},
                )
                for policy in (*self._old.values(), *self._new.values())
                if policy.spec.mode == "enforce"
                for rule in policy.spec.rules
                if rule.effect == "allow"
            ]
        return self._others

    def _change(self, policy: _Policy, rule: str, what: str, effect: Effect) -> Change:
        return Change(self._kind, policy.name, rule, what, effect)


def _frozen(facets: Facets) -> frozenset[object]:
    return frozenset((name, facet.essence) for name, facet in facets.items())

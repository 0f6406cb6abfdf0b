"""Limits, keys and customers of a policy set, as operators name them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from functools import cached_property

from authz.identity.keyring import Key
from authz.model.errors import ConfigError
from authz.model.identity import Identity, IdentityKind
from authz.model.text import visible
from authz.policy.loaded import Loaded
from authz.policy.rule import LimitRule
from authz.policy.workshop import Workshop
from authz.snapshot.keys import keys, providers

Customer = tuple[str, str]  # name space, name


class Census:
    """Everybody and every limit of a set that has no faults. Rates are whole, not a process's share.

    Args:
        revision: of the set with everything that belongs to it, overrides too.
    """

    def __init__(self, loaded: Loaded, revision: str = "") -> None:
        self._loaded = loaded
        self._providers = providers(loaded)
        made = [Workshop().limit(document) for document in loaded.limits]
        self.limits: dict[str, LimitRule] = {one.rule.name: one.rule for one in made}
        self.tried = frozenset(one.rule.name for one in made if one.tried)  # in `mode: shadow`
        self.revision = revision or loaded.revision

    @cached_property
    def keys(self) -> dict[str, Key]:
        """Every key, by id."""
        return {key.id: key for key in keys(self._loaded, self._providers)}

    @cached_property
    def key_names(self) -> dict[str, str]:
        """The names of their documents, by id."""
        return {document.spec.id: document.name for document in self._loaded.keys}

    @cached_property
    def namespaces(self) -> tuple[str, ...]:
        """Every name space of customers, after that of callers who are nobody's."""
        return ("", *sorted({provider.namespace for provider in self._providers.values()}))

    @cached_property
    def customers(self) -> dict[Customer, list[Identity]]:
        """Every customer, and the identities of its keys."""
        found: dict[Customer, list[Identity]] = {customer: [] for customer in self._documented}
        for key in self.keys.values():
            found.setdefault((key.identity.namespace, key.identity.customer), []).append(key.identity)
        return found

    @cached_property
    def _documented(self) -> dict[Customer, Identity]:
        """Customers with a document, each as somebody of theirs of whom nothing else is known."""
        return {
            (namespace, document.name): Identity(
                kind=IdentityKind.JWT,
                customer=document.name,
                namespace=namespace,
                labels=document.spec.labels,
                limits={name: rate.to_rate() for name, rate in (document.spec.limits or {}).items()},
            )
            for document in self._loaded.customers
            for namespace in [self._loaded.customer_namespace(document)]
        }

    def key(self, name: str) -> Key:
        """Return a key by the name of its document, or by its id.

        Raises:
            ConfigError: there is none.
        """
        ids = {name: key_id for key_id, name in self.key_names.items()}
        found = self.keys.get(ids.get(name, name))
        if found is None:
            raise _unknown("--key", "ApiKey", name, [*ids, *self.keys], "`authz key list` shows them")
        return found

    def customer(self, name: str, namespace: str) -> Customer:
        """Return a customer.

        Args:
            namespace: "" where the operator names none: it is that in which the customer is.

        Raises:
            ConfigError: there is none, or several.
        """
        within = sorted(space for space, known in self.customers if known == name)
        if namespace:
            within = [space for space in within if space == namespace]
        if len(within) > 1:
            spaces = ", ".join(within)
            raise ConfigError(
                f"--customer: `{name}` is in several name spaces; say which with --customers: {spaces}"
            )
        if not within:
            known = [customer for space, customer in self.customers if namespace in ("", space)]
            hint = "no key and no Customer document names it"
            if namespace:
                hint += f" in the name space `{visible(namespace)[:80]}` of --customers"
            raise _unknown("--customer", "customer", name, known, hint)
        return within[0], name

    def somebody(self, customer: Customer) -> Identity:
        """Return a customer as somebody of theirs of whom nothing else is known."""
        namespace, name = customer
        known = self._documented.get(customer)
        return known or Identity(kind=IdentityKind.JWT, customer=name, namespace=namespace)

    def limit(self, name: str) -> LimitRule:
        """Return a limit.

        Raises:
            ConfigError: there is none.
        """
        found = self.limits.get(name)
        if found is None:
            raise _unknown("--limit", "Limit", name, self.limits, "it has " + _few(self.limits))
        return found

    def chosen(self, limit: str) -> Iterator[LimitRule]:
        """Yield one limit, or all of them where none is named."""
        yield from [self.limit(limit)] if limit else self.limits.values()


def _few(names: Collection[str]) -> str:
    """Name some of what there is."""
    first = [f"`{name}`" for name in sorted(names)[:5]]
    return ", ".join([*first, "..."] if len(names) > len(first) else first) or "none"


def _unknown(flag: str, kind: str, name: str, known: Collection[str], hint: str) -> ConfigError:
    close = difflib.get_close_matches(name, known, n=1)
    mend = f"did you mean `{close[0]}`?" if close else hint
    return ConfigError(f"{flag}: this set has no {kind} `{visible(name)[:80]}`: {mend}")

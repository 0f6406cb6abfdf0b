"""Keeps the webhook known to the API server: its certificate in the Secret, its CA in the configuration.

Each replica does the same, every few seconds, and none leads: what stands in the Secret is what all agree on,
and whoever comes second is told so by the object's version and reads again. Without the API server each goes
on with what it has.
"""

from __future__ import annotations

import ssl
import threading
from typing import NamedTuple

from authz.admission import secret
from authz.admission.certificate import Generation, expiry_s, mint
from authz.admission.kube import Conflict, Known, Kube, Stored, Unreachable
from authz.admission.numbers import Numbers
from authz.admission.rotation import Held, Own, advance
from authz.admission.tls import server_context
from authz.config.log import get_logger

LOOK_S = 5.0  # for as long may an emptied bundle stop labelled pods
_TRIES = 5  # of two replicas one succeeds at once, of five the last at the fifth

_log = get_logger("webhook")


class Place(NamedTuple):
    """Where things stand in the cluster."""

    namespace: str
    secret: str
    configuration: str  # of the webhook
    names: tuple[str, ...]  # DNS names and addresses by which the API server connects


class Keeper:
    """What is served, and whether the API server knows it.

    Args:
        kube: the API server; its clock is the one that counts.
        place: where things stand.
        numbers: where it is told.
    """

    def __init__(self, kube: Kube, place: Place, numbers: Numbers) -> None:
        self._kube = kube
        self._place = place
        self._numbers = numbers
        self._lock = threading.Lock()
        # Served while nothing is agreed on: nobody knows it yet, but what is agreed on may become this.
        self._own = Own(mint(place.names, kube.now_s()), agreed=False)
        self._context = server_context(self._own.generation)
        self._ready = False
        self._said = "the API server was not reached yet"

    def secured(self) -> ssl.SSLContext:
        """Return the TLS context for a connection that begins."""
        with self._lock:
            return self._context

    def ready(self) -> tuple[bool, str]:
        """Say whether the API server knows us, as last seen; and if not, why."""
        with self._lock:
            return self._ready, self._said

    def look(self) -> bool:
        """See to it that all is as it should be; whether that could be done."""
        try:
            for left in reversed(range(_TRIES)):
                try:
                    self._round()
                    break
                except Conflict:
                    if not left:
                        raise
        except (Unreachable, Conflict) as fault:
            self._failed(str(fault))
            return False
        except Exception as bug:  # noqa: BLE001 - a bug of ours: it is told, and what is served stays
            self._failed(f"a fault of the webhook's own ({type(bug).__name__})")
            return False
        self._succeeded()
        return True

    def _round(self) -> None:
        place = self._place
        # INVARIANT: the configuration is read before the Secret. Whoever patches it from an older Secret then
        # holds an older version, and is refused: no CA leaves the bundle that another has just put there.
        known = self._kube.webhooks(place.configuration)
        stored = self._kube.secret(place.namespace, place.secret)
        if stored is None:
            # SECURITY: the chart renders it. Who may create Secrets may create one that Kubernetes fills with
            # the token of any account of the namespace.
            where = f"{place.namespace}/{place.secret}"
            raise Unreachable(f"the Secret {where} is gone: run `helm upgrade` again")
        held = secret.decode(stored.data)
        agreed = advance(held, self._own, place.names, self._kube.now_s(), known=_common(known))
        if agreed != held:
            self._agree(agreed, stored)
        bundle = agreed.bundle()
        if any(each != bundle for each in known.bundles.values()):
            self._kube.introduce(place.configuration, known, bundle)
            self._numbers.count("authz_webhook_bundle_repairs_total")
            _log.info("the API server was told our CAs", configuration=place.configuration)
        # Served last: the API server knows it by now.
        self._serve(agreed.current)

    def _agree(self, agreed: Held, stored: Stored) -> None:
        self._kube.write(self._place.namespace, self._place.secret, secret.encode(agreed), stored)
        _log.info(
            "certificates changed in the Secret",
            secret=self._place.secret,
            expires_s=expiry_s(agreed.current.cert),
            following=agreed.following is not None,
        )

    def _serve(self, generation: Generation) -> None:
        if generation != self._own.generation:
            context = server_context(generation)
            with self._lock:
                self._context = context
        self._own = Own(generation, agreed=True)

    def _succeeded(self) -> None:
        with self._lock:
            again, self._ready, self._said = self._said, True, ""
        if again:
            _log.info("the API server knows our certificate")
        self._show("done", ready=True)

    def _failed(self, fault: str) -> None:
        """Go on as we are: a webhook that is known stays so, as far as anybody can tell."""
        with self._lock:
            said, self._said = self._said, fault
            ready = self._ready
        if said != fault:
            _log.warning("certificates cannot be looked after; what is served stays", fault=fault)
        self._show("failed", ready=ready)

    def _show(self, result: str, *, ready: bool) -> None:
        self._numbers.count("authz_webhook_looks_total", result)
        self._numbers.show("authz_webhook_ready", ready)
        expires_s = expiry_s(self._own.generation.cert)
        self._numbers.show("authz_webhook_certificate_expiry_timestamp_seconds", expires_s)


def _common(known: Known) -> bytes:
    """Return the bundle where all webhooks of the configuration have one and the same; else nothing."""
    bundles = set(known.bundles.values())
    return bundles.pop() if len(bundles) == 1 else b""

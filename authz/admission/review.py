"""One AdmissionReview answered: a patch, a plain yes, or a no with a sentence.

Pure. SECURITY: yes without a patch is said of things that did not ask for the sidecar, or have it, and of
nothing else: whatever goes wrong here is a no.
Source: admission.k8s.io/v1, AdmissionReview.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import NamedTuple, assert_never

import msgspec

from authz.injection.patch import json_patch
from authz.injection.pod import Injected, LeftAlone, inject_pod
from authz.injection.service import Moved, Unmoved, move_service
from authz.injection.template import Template
from authz.injection.tree import Json, Object, TurnedAway, mapping, text

API_VERSION = "admission.k8s.io/v1"
UID_MAX = 256  # characters; an API server's has 36
# What 4 MiB could hold takes 130 MiB of memory once it is read, and anybody in the cluster may ask. A pod has
# hundreds of values; those of 64 containers with everything have 50,000.
VALUES_MAX = 250_000

PATCHED, UNTOUCHED, REFUSED, FAILED, UNREADABLE = "patched", "untouched", "refused", "failed", "unreadable"
_POD, _SERVICE = "pod", "service"
OTHER = "other"

_INVALID = 422  # what it asks for cannot be; the API server shows message and code to whoever asked
_OURS = 500


class Reviewed(NamedTuple):
    """What became of a review."""

    kind: str  # pod, service, other
    outcome: str
    reply: bytes  # b"" where it could not be read
    why: str = ""  # of a refusal


class _Review(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    kind: str
    request: dict[str, object]


def review(body: bytes, template: Template) -> Reviewed:
    """Answer one review. Nothing is raised, whatever it holds."""
    if _values(body) > VALUES_MAX:
        return Reviewed(OTHER, UNREADABLE, b"")
    try:
        asked = msgspec.json.decode(body, type=_Review)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reviewed(OTHER, UNREADABLE, b"")
    request: Object = asked.request  # type: ignore[assignment]  # decoded from JSON: nothing else is in it
    uid = text(request.get("uid"))
    if asked.api_version != API_VERSION or asked.kind != "AdmissionReview" or not 0 < len(uid) <= UID_MAX:
        return Reviewed(OTHER, UNREADABLE, b"")
    kind = _kind(mapping(request.get("kind")))
    try:
        return _judged(uid, kind, request, template)
    except Exception as bug:  # noqa: BLE001 - a bug of ours must not let a pod in, nor end this process
        why = f"a fault of the webhook's own ({type(bug).__name__}): report it; create the pod again"
        return Reviewed(kind, FAILED, _no(uid, why, _OURS), why)


def _values(body: bytes) -> int:
    """Return how many values JSON holds at most, without reading it."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _kind(kind: Mapping[str, Json]) -> str:
    known = {("", "v1", "Pod"): _POD, ("", "v1", "Service"): _SERVICE}
    return known.get((text(kind.get("group")), text(kind.get("version")), text(kind.get("kind"))), OTHER)


def _judged(uid: str, kind: str, request: Object, template: Template) -> Reviewed:
    thing = request.get("object")
    operation = request.get("operation")
    # Of a pod that runs no container can be added; whoever labels it now is stopped by the guard.
    asks = operation == "CREATE" or (operation == "UPDATE" and kind == _SERVICE)
    if kind == OTHER or not asks:
        return Reviewed(kind, UNTOUCHED, _yes(uid))
    if not isinstance(thing, dict):
        why = f"the review of this {kind} shows none: look at the webhook configuration"
        # Whoever reaches us may ask so: it is no fault of ours, for which somebody would be woken.
        return Reviewed(kind, REFUSED, _no(uid, why, _INVALID), why)
    result = inject_pod(thing, template) if kind == _POD else move_service(thing, template)
    match result:
        case TurnedAway(why):
            return Reviewed(kind, REFUSED, _no(uid, why, _INVALID), why)
        case LeftAlone() | Unmoved():
            return Reviewed(kind, UNTOUCHED, _yes(uid))
        case Injected(changed) | Moved(changed):
            return Reviewed(kind, PATCHED, _yes(uid, json_patch(thing, changed)))
        case _:
            assert_never(result)


def _yes(uid: str, patch: list[Object] | None = None) -> bytes:
    response: dict[str, object] = {"uid": uid, "allowed": True}
    if patch:
        encoded = base64.b64encode(msgspec.json.encode(patch)).decode()
        response |= {"patchType": "JSONPatch", "patch": encoded}
    return _reply(response)


def _no(uid: str, why: str, code: int) -> bytes:
    return _reply({"uid": uid, "allowed": False, "status": {"code": code, "message": why}})


def _reply(response: dict[str, object]) -> bytes:
    return msgspec.json.encode({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response})

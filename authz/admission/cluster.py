"""The API server, as this room needs it: one Secret, one webhook configuration, lists of pods.

The only importer of lightkube, and loaded by the two commands alone. None of its errors leaves this file.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

import httpx2
import msgspec
from lightkube import Client
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ApiError
from lightkube.core.exceptions import ConfigError as KubeConfigError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.admissionregistration_v1 import MutatingWebhookConfiguration
from lightkube.resources.core_v1 import Pod, Secret
from lightkube.types import PatchType

from authz.admission.census import Seen
from authz.admission.kube import Conflict, Known, Stored, Unreachable
from authz.injection.guard import ALWAYS
from authz.model.errors import ConfigError

TIMEOUT_S = 5.0  # per phase of a call: connecting, sending, a read
PAGE_PODS = 200  # a pod is 10 KiB or so: a page is a few megabytes
FIELD_MANAGER = "authz-inject-webhook"

_NOT_FOUND, _CONFLICT = 404, 409


class Cluster:
    """One API server.

    Args:
        client: knows where it is, and who we are.
        clock: what tells its time; see `ServerTime`.
    """

    def __init__(self, client: Client, clock: ServerTime) -> None:
        self._client = client
        self._clock = clock

    def now_s(self) -> float:
        """Return the time by the API server's clock, seconds since 1970: it is who judges certificates."""
        return self._clock.now_s()

    def secret(self, namespace: str, name: str) -> Stored | None:
        """Return a Secret; None where there is none."""
        with _translated(f"read the Secret {namespace}/{name}"):
            try:
                found = self._client.get(Secret, name, namespace=namespace)
            except ApiError as error:
                if error.status.code == _NOT_FOUND:
                    return None
                raise
            return Stored((found.metadata or ObjectMeta()).resourceVersion or "", found.data or {})

    def write(self, namespace: str, name: str, data: Mapping[str, str], stored: Stored) -> None:
        """Give a Secret other keys; what else stands in it stays."""
        gone: dict[str, str | None] = {key: None for key in stored.data if key not in data}
        patch = {"metadata": {"resourceVersion": stored.version}, "data": gone | dict(data)}
        with _translated(f"write the Secret {namespace}/{name}"):
            self._client.patch(
                Secret,
                name,
                patch,
                namespace=namespace,
                patch_type=PatchType.MERGE,
                field_manager=FIELD_MANAGER,
            )

    def webhooks(self, name: str) -> Known:
        """Return what the API server knows of us."""
        with _translated(f"read the webhook configuration {name}"):
            found = self._client.get(MutatingWebhookConfiguration, name)
            bundles = {each.name: _decoded(each.clientConfig.caBundle) for each in found.webhooks or ()}
            return Known((found.metadata or ObjectMeta()).resourceVersion or "", bundles)

    def introduce(self, name: str, known: Known, bundle: bytes) -> None:
        """Have the API server know every webhook of a configuration by these CAs."""
        text = base64.b64encode(bundle).decode()
        # By name, so that nothing else of a webhook is touched, and Helm's next patch does not touch this.
        webhooks = [{"name": each, "clientConfig": {"caBundle": text}} for each in known.bundles]
        patch = {"metadata": {"resourceVersion": known.version}, "webhooks": webhooks}
        with _translated(f"patch the webhook configuration {name}"):
            self._client.patch(
                MutatingWebhookConfiguration,
                name,
                patch,
                patch_type=PatchType.STRATEGIC,
                field_manager=FIELD_MANAGER,
            )

    def pods(self, namespace: str, label: str) -> Iterator[Seen]:
        """Yield the pods that carry a label with the value `true` and are not over, page by page."""
        with _translated(f"list pods of {namespace}"):
            pods = self._client.list(Pod, namespace=namespace, labels={label: "true"}, chunk_size=PAGE_PODS)
            for pod in pods:
                if not _is_over(pod):
                    yield _seen(pod)


def connect(wall_s: Callable[[], float] = time.time) -> Cluster:
    """Return the API server that a pod's service account, or else KUBECONFIG, leads to. Asks nothing yet.

    Raises:
        ConfigError: neither is there, or cannot be read.
    """
    try:
        config, user = _config()
        verify = verify_cluster(config.cluster, user, config.abs_file)
        clock = ServerTime(httpx2.HTTPTransport(verify=verify), wall_s)
        timeout = httpx2.Timeout(TIMEOUT_S)
        return Cluster(Client(config, timeout=timeout, transport=clock, field_manager=FIELD_MANAGER), clock)
    except Exception as error:  # noqa: BLE001 - a kubeconfig can be wrong in all the ways that YAML can
        words = _one_line(str(error)) or "cannot be read"
        raise ConfigError(
            f"the API server: {words}; run in a pod with a service account, or set KUBECONFIG"
        ) from None


def _config() -> tuple[SingleConfig, User]:
    config = KubeConfig.from_env().get()
    if config is None or config.user is None:
        raise KubeConfigError("the context names no user; choose one that does")
    return config, config.user


def _is_over(pod: Pod) -> bool:
    leaving = pod.metadata is not None and pod.metadata.deletionTimestamp is not None
    return leaving or (pod.status is not None and pod.status.phase in ("Succeeded", "Failed"))


def _seen(pod: Pod) -> Seen:
    metadata, spec = pod.metadata or ObjectMeta(), pod.spec
    if spec is None:
        return Seen(metadata.namespace or "", metadata.name or "", [])
    # SECURITY: one that is called as the sidecar and ends protects nobody.
    native = [each for each in spec.initContainers or () if each.restartPolicy == ALWAYS]
    names = [each.name for each in (*native, *spec.containers)]
    return Seen(metadata.namespace or "", metadata.name or "", names)


class ServerTime(httpx2.BaseTransport):
    """Carries calls, and learns the API server's time from its answers.

    Our own clock may jump, and a certificate made then would stop every labelled pod. Between answers time
    passes as the monotonic clock says; before the first, our own clock is all there is.

    Args:
        carrier: what really carries them.
        wall_s: our own clock, seconds since 1970.
    """

    def __init__(
        self,
        carrier: httpx2.BaseTransport,
        wall_s: Callable[[], float],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._carrier = carrier
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._ahead_s: float | None = None  # of the monotonic clock

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry one call."""
        response = self._carrier.handle_request(request)
        try:
            told_s = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return response
        self._ahead_s = told_s - self._monotonic_s()
        return response

    def now_s(self) -> float:
        """Return the API server's time, seconds since 1970."""
        ahead_s = self._ahead_s
        return self._wall_s() if ahead_s is None else self._monotonic_s() + ahead_s

    def close(self) -> None:
        """Hang up."""
        self._carrier.close()


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the library become ours, with what was asked."""
    try:
        yield
    except ApiError as error:
        if error.status.code == _CONFLICT:
            raise Conflict(f"{what}: somebody else changed it; read it again") from None
        raise Unreachable(f"{what}: {_one_line(error.status.message or str(error))}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL, KubeConfigError, OSError) as error:
        raise Unreachable(f"{what}: {_one_line(str(error) or 'no answer in time')}") from None
    except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError):
        # No API server answers so: something else stands at its address, such as a proxy with an error page.
        raise Unreachable(f"{what}: the answer is none of an API server's; look at who answers") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _decoded(bundle: str | None) -> bytes:
    try:
        return base64.b64decode(bundle or "", validate=True)
    except (ValueError, binascii.Error):
        return b""

"""A real Kubernetes without containers: etcd, API server, controllers, scheduler, and nodes that kwok plays.

Everything listens on the loopback, on free ports, in a folder of its own; twelve seconds until pods "run".
Nobody may do anything but by RBAC: the administrator has a token of `system:masters`, and tests act as others
by `as_service_account`.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from authz.proxy.process import Child, Plan
from tests.kube.tools import etcd, tool
from tests.support.redis import LOOPBACK, free_ports

START_S = 120.0  # twelve seconds, and more where a machine does ten other things
POLL_S = 0.1
_ANSWER_S = 60
_TOKEN = "administrator-of-tests"  # of a server that only this machine reaches
_STAGES = Path(__file__).with_name("stages.yaml")
_NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "kwok", "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"type": "kwok"}},
    "status": {"allocatable": {"cpu": "1000", "memory": "4000Gi", "pods": "5000"}},
}


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both of what it said."""
        return self.out + self.err


class Cluster:
    """A cluster that runs, and how to speak to it.

    Args:
        home: where its keys, data and logs are.
        kubeconfig: with which its administrator is let in.
        url: of its API server.
    """

    def __init__(self, home: Path, kubeconfig: Path, url: str) -> None:
        self.home = home
        self.kubeconfig = kubeconfig
        self.url = url

    @property
    def ca(self) -> Path:
        """The certificate that vouches for the API server."""
        return self.home / "api" / "apiserver.crt"

    @property
    def token(self) -> str:
        """The administrator's bearer token."""
        return _TOKEN

    def kubectl(self, *words: str, given: str | None = None, check: bool = True) -> Said:
        """Run kubectl as administrator.

        Raises:
            AssertionError: it failed, and `check` is true.
        """
        said = run([tool("kubectl"), f"--kubeconfig={self.kubeconfig}", *words], given)
        assert not check or said.code == 0, f"kubectl {' '.join(words)}: {said.text}"
        return said

    def apply(self, *objects: Mapping[str, Any], check: bool = True, namespace: str = "default") -> Said:
        """Create or change objects."""
        text = "".join(f"---\n{json.dumps(each)}\n" for each in objects)
        return self.kubectl("apply", "-n", namespace, "-f", "-", given=text, check=check)

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        """Return an object as it is stored."""
        loaded = json.loads(self.kubectl("get", kind, name, "-n", namespace, "-o", "json").out)
        assert isinstance(loaded, dict)
        return loaded

    def list(self, kind: str, namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        """Return objects as they are stored; of every namespace where none is named."""
        where = ["-n", namespace] if namespace else ["--all-namespaces"]
        chosen = ["-l", selector] if selector else []
        loaded = json.loads(self.kubectl("get", kind, *where, *chosen, "-o", "json").out)
        return list(loaded["items"])

    def as_service_account(self, namespace: str, name: str, *words: str, given: str | None = None) -> Said:
        """Run kubectl as a service account would: with what RBAC gives it, and its groups."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        identity = [
            f"--as=system:serviceaccount:{namespace}:{name}",
            *(f"--as-group={one}" for one in groups),
        ]
        return self.kubectl(*identity, *words, given=given, check=False)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a real token of a service account, for a process of ours."""
        token = self.kubectl("create", "token", name, "-n", namespace, "--duration=1h").out.strip()
        path = self.home / f"{namespace}-{name}.kubeconfig"
        _write_kubeconfig(path, self.url, self.ca, token, namespace)
        return path

    def create_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """Create a namespace, and wait until pods can be created in it."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": dict(labels or {})},
            }
        )
        self.until(
            lambda: self.kubectl("get", "serviceaccount", "default", "-n", name, check=False).code == 0,
            f"the default service account of {name}",
        )
        return name

    def delete_namespace(self, name: str) -> None:
        """Ask for a namespace to be deleted, and wait for nothing."""
        self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    @staticmethod
    def until(ready: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it never did.
        """
        end = time.monotonic() + timeout_s
        while not ready():
            assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}"
            time.sleep(POLL_S)


class Helm:
    """One of the two Helms, for one cluster; or for none, to render.

    Args:
        key: `helm3` or `helm4`.
        cluster: where it installs.
        home: where it may keep what it likes.
    """

    def __init__(self, key: str, home: Path, cluster: Cluster | None = None) -> None:
        self.key = key
        self._program = tool(key)
        self._cluster = cluster
        kept = {
            name: str(home / key / name) for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")
        }
        self._env = {**kept, **({"KUBECONFIG": str(cluster.kubeconfig)} if cluster else {})}

    def __call__(self, *words: str, given: str | None = None, check: bool = True) -> Said:
        """Run it.

        Raises:
            AssertionError: it failed, and `check` is true.
        """
        said = run([self._program, *words], given, self._env)
        assert not check or said.code == 0, f"{self.key} {' '.join(words)}: {said.text}"
        return said


def run(words: Sequence[str], given: str | None = None, env: Mapping[str, str] | None = None) -> Said:
    """Run a command to its end."""
    done = subprocess.run(
        words,
        input=given,
        stdin=None if given is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_ANSWER_S * 4,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def cluster(home: Path) -> Iterator[Cluster]:
    """Start a cluster; leaving ends it."""
    store, peer, api, controllers, scheduler = free_ports(5)
    (home / "api").mkdir()
    _write_keys(home)
    url = f"https://{LOOPBACK}:{api}"
    kubeconfig = home / "kubeconfig"
    ours = Cluster(home, kubeconfig, url)
    with ExitStack() as stack:

        def start(name: str, words: Sequence[str]) -> Child:
            plan = Plan(name, words, home / f"{name}.log", home / f"{name}.log")
            return stack.enter_context(Child(plan))

        start("etcd", _etcd(home, store, peer))
        server = start("kube-apiserver", _api_server(home, store, api))
        server.wait_until(lambda: ours.ca.is_file(), START_S)
        _write_kubeconfig(kubeconfig, url, ours.ca, _TOKEN)
        server.wait_until(lambda: ours.kubectl("get", "--raw", "/readyz", check=False).code == 0, START_S)
        start("kube-controller-manager", _controllers(home, kubeconfig, controllers))
        start("kube-scheduler", _scheduler(kubeconfig, scheduler))
        start("kwok", _kwok(kubeconfig))
        ours.apply(_NODE)
        ours.until(lambda: _is_ready(ours), "the node to be ready", START_S)
        yield ours


def _is_ready(ours: Cluster) -> bool:
    made = ours.kubectl("get", "serviceaccount", "default", check=False).code == 0
    node = ours.get("node", "kwok")
    conditions = {one["type"]: one["status"] for one in node["status"].get("conditions", ())}
    return made and conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _etcd(home: Path, port: int, peer: int) -> list[str]:
    here, there = f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{peer}"
    return [
        etcd(),
        f"--data-dir={home / 'etcd'}",
        f"--listen-client-urls={here}",
        f"--advertise-client-urls={here}",
        f"--listen-peer-urls={there}",
        f"--initial-advertise-peer-urls={there}",
        f"--initial-cluster=default={there}",
    ]


def _api_server(home: Path, store: int, port: int) -> list[str]:
    return [
        tool("kube-apiserver"),
        f"--etcd-servers=http://{LOOPBACK}:{store}",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--cert-dir={home / 'api'}",
        f"--token-auth-file={home / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={home / 'accounts.pub'}",
        f"--service-account-signing-key-file={home / 'accounts.key'}",
        "--endpoint-reconciler-type=none",
        "--event-ttl=10m",
        # Lists as streams end with an error each time where etcd is 3.4: kwok would learn of pods by asking
        # anew, after up to half a minute.
        "--feature-gates=WatchList=false",
    ]


def _controllers(home: Path, kubeconfig: Path, port: int) -> list[str]:
    return [
        tool("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--cert-dir={home / 'controllers'}",
        "--leader-elect=false",
        # Nodes that nobody hears of for a while are well: a test may take all of a machine's time.
        "--node-monitor-grace-period=1h",
        "--node-startup-grace-period=1h",
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={home / 'accounts.key'}",
        f"--root-ca-file={home / 'api' / 'apiserver.crt'}",
        # As quick as a test wants it; a cluster would ask its API server less often.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-namespace-syncs=20",
    ]


def _scheduler(kubeconfig: Path, port: int) -> list[str]:
    return [
        tool("kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


def _kwok(kubeconfig: Path) -> list[str]:
    chosen = "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"
    return [tool("kwok"), f"--kubeconfig={kubeconfig}", f"--config={_STAGES}", chosen]


def _write_keys(home: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "accounts.key").write_bytes(private)
    (home / "accounts.pub").write_bytes(public)
    (home / "tokens.csv").write_text(f"{_TOKEN},administrator,administrator,system:masters\n")


def _write_kubeconfig(path: Path, url: str, ca: Path, token: str, namespace: str = "default") -> None:
    name = "tests"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(ca)}}],
                "users": [{"name": name, "user": {"token": token}}],
                "contexts": [
                    {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
                ],
                "current-context": name,
            }
        )
    )
    path.chmod(0o600)

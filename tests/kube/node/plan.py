"""What a container is made of: the plan that `container.py` carries out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.kube.node.environment import NotConfigured, Object, Stored, command, environment
from tests.kube.node.images import Image, image, system_binds, system_links
from tests.kube.node.network import Place
from tests.kube.node.volumes import Volumes

_DIRECTORIES = {
    "/tmp": 0o1777,
    "/run": 0o755,
    "/var/lib": 0o755,
    "/var/tmp": 0o1777,
    "/sys": 0o555,
}
_PASSWD = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
_GROUP = "root:x:0:\nnonroot:x:65532:\n"


class House(NamedTuple):
    """What the containers of a pod share.

    Args:
        pod: as stored.
        home: files of ours about it.
        place: its network.
        mounts: the path of the namespace of its mounts.
        volumes: its volumes.
        stored: where objects are read.
    """

    pod: Object
    home: Path
    place: Place
    mounts: str
    volumes: Volumes
    stored: Stored

    @property
    def spec(self) -> Object:
        """The pod's `spec`."""
        spec: Object = self.pod["spec"]
        return spec


def write_plan(container: Object, house: House) -> Path:
    """Write a container's plan; return where.

    Raises:
        NotConfigured: the kubelet would not make this container.
        NoImage: no program here stands for its image.
    """
    made = image(container["image"])
    env = environment(container, house.pod, house.stored, made.env)
    home = house.home / str(container["name"])
    (home / "root").mkdir(parents=True, exist_ok=True)
    directory = container.get("workingDir", made.directory)
    plan = {
        "command": command(container, made.entrypoint, made.arguments, env),
        "env": env,
        "directory": directory,
        "root": str(home / "root"),
        "network": house.place.path,
        "mounts": house.mounts,
        "hostname": house.spec.get("hostname", house.pod["metadata"]["name"])[:63],
        "links": system_links(),
        "directories": {directory: 0o755} | _DIRECTORIES,
        "binds": list(_binds(container, house, made, home)),
        **_user(container, house, made),
    }
    path = home / "plan.json"
    path.write_text(json.dumps(plan))
    return path


def _user(container: Object, house: House, made: Image) -> Object:
    own, shared = container.get("securityContext", {}), house.spec.get("securityContext", {})
    merged = {**shared, **own}
    user, _, group_of_image = made.user.partition(":")
    uid = int(merged.get("runAsUser", user))
    if merged.get("runAsNonRoot") and uid == 0:
        raise NotConfigured(
            f"container has runAsNonRoot and image will run as root (container: {container['name']})"
        )
    group = [shared["fsGroup"]] if "fsGroup" in shared else []
    return {
        "uid": uid,
        "gid": int(merged.get("runAsGroup", group_of_image or 0)),
        "groups": [*shared.get("supplementalGroups", ()), *group],
        "escalation": own.get("allowPrivilegeEscalation", True),
        "drop_capabilities": "ALL" in own.get("capabilities", {}).get("drop", ()),
        "read_only_root": own.get("readOnlyRootFilesystem", False),
    }


def _binds(container: Object, house: House, made: Image, home: Path) -> Iterator[Object]:
    """Say what stands where, in the order in which it must be mounted."""
    own = {**system_binds(), **made.binds, **_written(home, made, house)}
    yield from ({"source": source, "target": target, "read_only": True} for source, target in own.items())
    message = home / "termination-log"
    message.write_bytes(b"")
    message.chmod(0o666)
    log = container.get("terminationMessagePath", "/dev/termination-log")
    yield {"source": str(message), "target": log, "read_only": False}
    for mount in sorted(container.get("volumeMounts", ()), key=lambda each: str(each["mountPath"])):
        source = house.volumes.path(mount["name"]) / str(mount.get("subPath", ""))
        read_only = mount.get("readOnly", False) or _is_files(mount["name"], house)
        yield {"source": str(source), "target": mount["mountPath"], "read_only": read_only}


def _is_files(volume: str, house: House) -> bool:
    """Whether a volume is made of what the API server holds: whatever the mount says, nobody writes there."""
    return not any("emptyDir" in each for each in house.spec["volumes"] if each["name"] == volume)


def _written(home: Path, made: Image, house: House) -> Mapping[str, str]:
    """Files that a kubelet or an image would bring."""
    texts = {
        "/etc/hosts": hosts(house),
        "/etc/resolv.conf": "",
        "/etc/passwd": _PASSWD,
        "/etc/group": _GROUP,
        **made.files,
    }
    binds = {}
    for target, text in texts.items():
        path = home / target.strip("/").replace("/", "-")
        path.write_text(text)
        path.chmod(0o755 if text.startswith("#!") else 0o644)
        binds[str(path)] = target
    return binds


def hosts(house: House) -> str:
    """Return names and addresses: the pod's, and in place of a cluster's DNS those of all Services."""
    lines = ["127.0.0.1\tlocalhost", f"{house.place.address}\t{house.pod['metadata']['name']}"]
    own = house.pod["metadata"]["namespace"]
    for service in (house.stored.get("services", "") or {}).get("items", ()):
        address = service["spec"].get("clusterIP", "None")
        if address != "None":
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            long = f"{name}.{namespace}"
            names = [long, f"{long}.svc", f"{long}.svc.cluster.local", *([name] if namespace == own else [])]
            lines.append(f"{address}\t{' '.join(names)}")
    return "\n".join(lines) + "\n"

"""One case: a namespace of its own, the ModelDeployment in it, and waits that name what they waited for.

Every wait is on a condition of the cluster, never on time. A wait on a condition of a ModelDeployment counts only what
speaks of the present spec (`observedGeneration`).
"""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from e2e.cases import manifests
from e2e.cases.clients import HTTP
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.place import Store

OPERATOR_NAMESPACE, OPERATOR = "modelward-system", "modelward-operator"
CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close()
    print("connected")
except OSError as error:
    print(error)
"""
PATIENCE = 90  # seconds for anything that starts a pod, on two busy cores


@dataclass(frozen=True)
class Case:
    """What a test holds: it applies, waits, looks and calls, all inside its namespace."""

    kube: Kube
    namespace: str
    store: Store
    prefix: str
    """Where the uploaded models are: s3://BUCKET/RUN."""

    def model_service(self, path: str = "adder/1/", **spec: Any) -> Object:
        """Draw a ModelDeployment of an uploaded model; see manifests.model_deployment."""
        storage = spec.pop("storage", None) or manifests.storage(self.store)
        return manifests.model_deployment(f"{self.prefix}/{path}", storage, **spec)

    def apply(self, *objects: Object) -> None:
        """Apply in this namespace, as a user would."""
        for one in objects:
            one["metadata"].setdefault("namespace", self.namespace)
        self.kube.apply(*objects)

    def apply_credentials(self) -> None:
        """Put the right credentials of the object store in place."""
        self.apply(manifests.credentials(self.store))

    def apply_authority(self) -> None:
        """Put the object store's private CA in place."""
        self.apply(manifests.authority(self.store.ca_file))

    def serve(self, path: str = "adder/1/", **spec: Any) -> None:
        """Apply a ModelDeployment and wait until it is ready."""
        self.apply(self.model_service(path, **spec))
        self.wait_ready(spec.get("name", NAME))

    def wait_ready(self, name: str = NAME, within: float = PATIENCE) -> Object:
        return self.wait_condition(name, "Ready", "True", within=within)

    def wait_condition(
        self, name: str, type_: str, status: str, reason: str = "", text: str = "", *, within: float = PATIENCE
    ) -> Object:
        """Wait for a condition about the present spec, with this reason and with `text` in its message."""

        def probe() -> Object | None:
            found = self.condition(type_, name)
            told = found.get("reason", ""), found.get("message", "")
            right = found.get("status") == status and reason in ("", told[0]) and text in told[1]
            return found if right else None

        what = f"{name}: {type_}={status} {reason} {text!r}"
        return wait(what, probe, within=within, last=lambda: self.told(name))

    def condition(self, type_: str, name: str = NAME) -> Object:
        """Return the condition if it speaks of the present generation, else an empty one."""
        live = self.model(name)
        generation = live.get("metadata", {}).get("generation")
        conditions = live.get("status", {}).get("conditions", [])
        fresh = (one for one in conditions if one["type"] == type_ and one["observedGeneration"] == generation)
        return next(fresh, {})

    def told(self, name: str = NAME) -> str:
        """Write the conditions as a person would read them."""
        conditions = self.model(name).get("status", {}).get("conditions", [])
        return "; ".join(f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions)

    def model(self, name: str = NAME) -> Object:
        return self.kube.find("ModelDeployment", name, self.namespace)

    def change(self, spec: Object, name: str = NAME) -> None:
        """Merge into the spec."""
        self.kube.patch("ModelDeployment", name, {"spec": spec}, self.namespace)

    def pods(self, name: str = NAME) -> list[Object]:
        return self.kube.list("Pod", self.namespace, f"modelward.dev/model={name}")

    def wait_pods(self, count: int, name: str = NAME, within: float = PATIENCE) -> list[Object]:
        """Wait until exactly so many pods exist."""
        wait(
            f"{count} pods of {name}",
            lambda: len(self.pods(name)) == count,
            within=within,
            last=lambda: str([pod["metadata"]["name"] for pod in self.pods(name)]),
        )
        return self.pods(name)

    def claim_folder(self, name: str, volume: str, folder: str) -> None:
        """Make a folder of the node a volume, and claim it; who does so deletes the PersistentVolume in the end."""
        self.kube.apply(manifests.host_volume(volume, folder))
        self.apply(manifests.claim(name, volume))

    def replace_pod(self, name: str = NAME) -> None:
        """End the one pod at once, and wait until another one serves."""
        (pod,) = self.pods(name)
        self.kube.delete("Pod", pod["metadata"]["name"], self.namespace, grace=0)

        def another() -> bool:
            found = self.pods(name)
            return bool(found) and all(
                pod_ready(one) and one["metadata"]["uid"] != pod["metadata"]["uid"] for one in found
            )

        wait("another pod serves", another, within=PATIENCE, last=lambda: self.told(name))
        self.wait_ready(name)

    def service_address(self, name: str = NAME, port: int = HTTP) -> str:
        """Return the Service's address once it accepts connections: kube-proxy hears of a ready pod when Ready does, and not before."""
        address = str(self.kube.find("Service", name, self.namespace)["spec"]["clusterIP"])
        wait(f"{address}:{port} accepts connections", lambda: _accepts(address, port), within=15)
        return address

    def start_client(self, name: str, script: str, *arguments: str) -> "Client":
        """Run a Python script in a pod of this namespace and wait until it runs."""
        self.apply(manifests.client_pod(name, script, *arguments))
        client = Client(self.kube, self.namespace, name)
        wait(f"pod {name} runs", client.running, within=PATIENCE, last=client.phase)
        return client

    def first_seen(self, **probes: Callable[[], object]) -> dict[str, float]:
        """Poll all probes together until each was true once; return when each was first seen (seconds, monotonic)."""
        seen: dict[str, float] = {}
        deadline = time.monotonic() + PATIENCE
        while len(seen) < len(probes):
            assert time.monotonic() < deadline, f"saw only {sorted(seen)} of {sorted(probes)}: {self.told()}"
            for name, probe in probes.items():
                if name not in seen and probe():
                    seen[name] = time.monotonic()
            time.sleep(0.05)
        return seen


@dataclass(frozen=True)
class Client:
    """A running client pod."""

    kube: Kube
    namespace: str
    name: str

    def phase(self) -> str:
        status = self.kube.find("Pod", self.name, self.namespace).get("status", {})
        return json.dumps({key: status.get(key) for key in ("phase", "containerStatuses")})

    def running(self) -> bool:
        found = self.kube.find("Pod", self.name, self.namespace)
        return bool(found.get("status", {}).get("phase") == "Running")

    def python(self, script: str, *arguments: str) -> str:
        """Run a Python script in the pod; return its output, or raise Refused with its traceback."""
        return self.kube.kubectl("exec", "-n", self.namespace, self.name, "--", "python3", "-c", script, *arguments)

    def connects(self, address: str, port: int) -> bool:
        """Say whether the pod can open a TCP connection within two seconds."""
        return self.python(CONNECT, address, str(port)).strip() == "connected"

    def last_line(self) -> str:
        lines = self.kube.logs(self.name, self.namespace, lines=1).strip().splitlines()
        return lines[-1] if lines else ""


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), 2).close()
    except OSError:
        return False
    return True


def pod_ready(pod: Object) -> bool:
    """Say whether the kubelet reports the pod ready and nobody asked it to leave."""
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]

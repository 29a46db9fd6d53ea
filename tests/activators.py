"""A real activator, real serving processes as the pods, and the stand-in for the API that moves them about.

Every pod has a loopback address of its own (127.1.0.N), as pods have, and the same ports.
"""

import http.client
import itertools
import json
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kubernetes_watch import CONFIG_MAPS, NAMESPACE, SLICES, WatchedApi, watched_api
from tests.ports import free_ports
from tests.processes import Process, command

NOBODY = {"authentication": {"mode": "None"}}
_turns = itertools.count(1)


def token_review(name: str = "m") -> dict[str, Any]:
    """The section `access` of a model that asks who calls; files and server are a pod's, and not used here."""
    authentication = {
        "mode": "TokenReview",
        "audience": "modelward.dev",
        "server": "https://nowhere.invalid",
        "tokenFile": "/nowhere/token",
        "caFile": "/nowhere/ca.crt",
    }
    return {"authentication": authentication, "authorization": {"namespace": "risk", "name": name}}


@dataclass
class Pod:
    """A serving process with an address of its own."""

    process: Process
    uid: str
    address: str


@dataclass
class Stage:
    """One activator, the API that it watches, one model's pods."""

    api: WatchedApi
    activator: Process
    folder: Path
    model: Path
    pod_ports: tuple[int, int, int]
    ports: tuple[int, int]  # of the model's route
    stack: ExitStack
    pods: dict[str, Pod] = field(default_factory=dict)
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def route(self, name: str = "m", ports: tuple[int, int] | None = None, **change: Any) -> int:
        """Have a route for a model, and wait until it is open; the version of the ConfigMap."""
        http, grpc = ports or self.ports
        self.routes[name] = {
            "namespace": "risk",
            "name": name,
            "ports": {"http": http, "grpc": grpc},
            "access": NOBODY,
            "tls": None,
            "holdSeconds": 90,
            "maxHeld": 100,
            "wake": True,
            "refusal": None,
            "maxBodyBytes": 1 << 26,
            "model": {"name": name, "version": "1"},
            **change,
        }
        return self.write_routes()

    def write_routes(self, *, wait: bool = True) -> int:
        text = json.dumps({"apiVersion": "activator/v1", "routes": list(self.routes.values())})
        version = self.write(text)
        if wait:
            self.activator.until(lambda: self.demand()["routes"] == {"modelward-activator-routes-0": version})
        return version

    def write(self, text: str) -> int:
        """Whatever it is, as the one ConfigMap's routes.json; its version."""
        body = {"metadata": {"namespace": NAMESPACE}, "data": {"routes.json": text}}
        return self.api.put(CONFIG_MAPS, "modelward-activator-routes-0", body)

    def demand(self, query: str = "") -> Any:
        """GET /demand."""
        status, body = self.activator.get(f"/demand{query}")
        assert 200 == status, body
        return json.loads(body)

    def held(self) -> int:
        return sum(line["held"] for line in self.demand()["models"])

    def until_held(self, count: int, seconds: float = 25) -> None:
        self.activator.until(lambda: self.held() == count, seconds)

    def begin_pod(self, *, listed: bool = True) -> Pod:
        """Start a serving process and list it, not ready, as the cluster does when a pod has got its address; or leave that to the test."""
        turn = next(_turns)
        address = f"127.1.{turn // 250}.{turn % 250 + 1}"
        http, grpc, admin = self.pod_ports
        arguments = ["serve", str(self.model), "--name", "m", "--host", address, "--http-port", str(http)]
        arguments += ["--grpc-port", str(grpc), "--admin-port", str(admin), "--threads", "1"]
        folder = self.folder / f"pod-{turn}"
        process = self.stack.enter_context(command(folder, arguments, self.pod_ports, {}))
        pod = Pod(process, f"uid-{turn}", address)
        self.pods[pod.uid] = pod
        if listed:
            self.list_pod(pod)
        return pod

    def stranger(self) -> Pod:
        """A pod whose server the test brings itself, at this address; not listed yet."""
        turn = next(_turns)
        return Pod(self.activator, f"uid-{turn}", f"127.2.{turn // 250}.{turn % 250 + 1}")

    def list_pod(self, pod: Pod, *, service: str = "m", ready: bool = False, terminating: bool = False) -> None:
        """What the EndpointSlice controller writes of it."""
        target = {"kind": "Pod", "namespace": "risk", "uid": pod.uid}
        conditions = {"ready": ready, "serving": ready, "terminating": terminating}
        self.api.put(SLICES, pod.uid, slice_of(self.pod_ports, service, pod.address, target, conditions))

    def end_pod(self, pod: Pod) -> None:
        """Scale down as the cluster does: listed as terminating, told to end, and gone."""
        self.list_pod(pod, terminating=True)
        self.until_heard()
        pod.process.signal()
        assert 0 == pod.process.exit_code()
        self.forget_pod(pod)

    def until_heard(self) -> None:
        """Wait until the activator has heard what the API has told: what lay in its sockets before it was asked twice has been read."""
        self.api.until_sent()
        for _ in range(2):
            self.demand()

    def kill_pod(self, pod: Pod) -> None:
        """Without a word."""
        pod.process.signal(signal.SIGKILL)
        pod.process.exit_code()

    def forget_pod(self, pod: Pod) -> None:
        self.api.drop(SLICES, pod.uid)
        del self.pods[pod.uid]


def slice_of(
    ports: tuple[int, ...], service: str, address: str, target: Mapping[str, Any], conditions: Mapping[str, Any]
) -> dict[str, Any]:
    """An EndpointSlice with one endpoint."""
    labels = {
        "kubernetes.io/service-name": service,
        "app.kubernetes.io/managed-by": "modelward",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    endpoint = {"addresses": [address], "conditions": conditions, "targetRef": target}
    named = [{"name": "http", "port": ports[0]}, {"name": "grpc", "port": ports[1]}]
    return {
        "metadata": {"namespace": "risk", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [endpoint],
        "ports": named,
    }


@contextmanager
def stage(folder: Path, model: Path, *options: str) -> Iterator[Stage]:
    """Everything but routes and pods; the activator is ready."""
    with ExitStack() as stack:
        api = stack.enter_context(watched_api(folder / "api"))
        pod_http, pod_grpc, pod_admin, http, grpc = free_ports(5)
        own = ("--pod-admin-port", str(pod_admin), *options)
        activator = stack.enter_context(activator_of(api, folder / "activator", *own))
        yield Stage(api, activator, folder, model, (pod_http, pod_grpc, pod_admin), (http, grpc), stack)


@contextmanager
def activator_of(api: WatchedApi | None, folder: Path, *options: str, host: str = "127.0.0.1") -> Iterator[Process]:
    """`modelward activator`, ready; without the stand-in, `options` say where the API is."""
    (admin,) = free_ports(1)
    arguments = ["activator", "--host", host, "--admin-port", str(admin), "--ca-directory", str(folder / "ca")]
    if api:
        files = ("--token-file", str(api.folder / "token"), "--ca-file", str(api.folder / "ca.crt"))
        arguments += ["--namespace", NAMESPACE, "--api-server", api.url, *files]
    arguments += options
    with command(folder, arguments, (0, 0, admin), {}) as process:
        process.until(lambda: call("GET", host, admin, "/readyz")[0] == 200)
        yield process


def call(
    method: str, host: str, port: int, path: str, body: bytes | Iterable[bytes] | None = None, headers: Any = None
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers but for those of the connection, and body."""
    connection = http.client.HTTPConnection(host, port, timeout=120)
    try:
        connection.request(method, path, body, headers or {}, encode_chunked=isinstance(body, list))
        answer = connection.getresponse()
        told = [(name.lower(), value) for name, value in answer.getheaders() if name.lower() != "connection"]
        return answer.status, sorted(told), answer.read()
    finally:
        connection.close()

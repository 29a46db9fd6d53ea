"""The activator against a real API server: it lists and watches routes and slices by its own rights, and asks who may call."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.activators import activator_of, call, slice_of
from tests.contract.test_activator_rest import INFER, JSON
from tests.integration.apiserver import ApiServer
from tests.integration.cast import AUDIENCE, MODEL, Cast, assemble
from tests.integration.deep import DEEPEST, write_deep
from tests.integration.rest import RBAC, apply, request
from tests.onnx_models import linear, save
from tests.ports import free_ports
from tests.processes import Process, serve

ROUTES = "modelward-activator-routes-0"
SLICES = "/apis/discovery.k8s.io/v1"


@dataclass(frozen=True)
class Place:
    """A running activator in a namespace of a real cluster's API, and a model's ports on it."""

    cast: Cast
    process: Process
    ports: tuple[int, int]

    def put_routes(self, **change: Any) -> int:
        """Write the route of the model; the ConfigMap's version, once it is in force."""
        authentication = {"mode": "TokenReview", "audience": AUDIENCE, "server": "https://nowhere.invalid"}
        authentication |= {"tokenFile": "/nowhere/token", "caFile": "/nowhere/ca.crt"}
        route = {
            "namespace": self.cast.risk,
            "name": MODEL,
            "ports": {"http": self.ports[0], "grpc": self.ports[1]},
            "access": self.cast.access(authentication),
            "tls": None,
            "holdSeconds": 60,
            "maxHeld": 100,
            "wake": True,
            "refusal": None,
            "maxBodyBytes": 1 << 20,
            **change,
        }
        text = json.dumps({"apiVersion": "activator/v1", "routes": [route]})
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": ROUTES, "labels": {"modelward.dev/activator": "routes"}},
            "data": {"routes.json": text},
        }
        written = apply(self.cast.server, body, namespace=self.cast.risk, dry_run=False)
        version = int(written["metadata"]["resourceVersion"])
        self.process.until(lambda: self.demand()["routes"].get(ROUTES) == version, 60)
        return version

    def demand(self) -> Any:
        return json.loads(self.process.get("/demand")[1])

    def held(self) -> list[int]:
        return [line["held"] for line in self.demand()["models"]]

    def predict(self, token: str) -> int:
        headers = {"authorization": f"Bearer {token}"}
        return call("POST", "127.0.0.1", self.ports[0], INFER.replace("/m/", f"/{MODEL}/"), JSON, headers)[0]


@pytest.fixture
def place(server: ApiServer, tmp_path: Path) -> Iterator[Place]:
    cast = assemble(server, tmp_path / "account")
    watch = ["get", "list", "watch"]
    account = {"kind": "ServiceAccount", "name": "pod", "namespace": cast.risk}
    cast._role("activator", [{"apiGroups": [""], "resources": ["configmaps"], "verbs": watch}], account, cast.risk)
    slices = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch}]
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": f"slices-{cast.risk}"}
    meta = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": f"slices-{cast.risk}"}}
    apply(server, {**meta, "kind": "ClusterRole", "rules": slices}, dry_run=False)
    apply(server, {**meta, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [account]}, dry_run=False)
    http, grpc, pod_admin = free_ports(3)
    own = ("--namespace", cast.risk, "--api-server", server.url, "--pod-admin-port", str(pod_admin))
    files = ("--token-file", str(cast.folder / "token"), "--ca-file", str(cast.folder / "ca.crt"))
    with activator_of(None, tmp_path / "activator", *own, *files) as process:
        yield Place(cast, process, (http, grpc))


def test_a_call_is_held_for_a_pod_that_the_api_server_tells_of(place: Place, tmp_path: Path) -> None:
    place.put_routes()
    assert (401, 403) == (place.predict("nobody"), place.predict(place.cast.token("stranger")))
    save(linear(), tmp_path / "m/model.onnx")
    with ThreadPoolExecutor(1) as pool, serve(tmp_path / "m", tmp_path, "--name", MODEL, "--host", "0.0.0.0") as pod:
        held = until_held(place, pool)
        put_slice(place, pod.ports, ready=False)
        pod.until_ready()
        put_slice(place, pod.ports, ready=True)
        assert 200 == held.result(60)
        assert 200 == place.predict(place.cast.token("caller"))
        request(place.cast.server, "DELETE", f"{SLICES}/namespaces/{place.cast.risk}/endpointslices/{MODEL}-abc")
        again = until_held(place, pool)
        put_slice(place, pod.ports, ready=True)
        assert 200 == again.result(60)


def until_held(place: Place, pool: ThreadPoolExecutor) -> Future[int]:
    """Call until a call is held, and return that one: before the activator has heard that the pod is gone, calls reach it."""
    token, limit = place.cast.token("caller"), time.monotonic() + 60
    while time.monotonic() < limit:
        made = pool.submit(place.predict, token)
        place.process.until(lambda: made.done() or place.held() == [1], 60)  # noqa: B023  waited for here
        if not made.done():
            return made
        assert 200 == made.result()
    raise AssertionError("no call is held")


def test_a_slice_that_is_nested_as_deeply_as_can_be_ends_nothing(place: Place, tmp_path: Path) -> None:
    labels = {"app.kubernetes.io/managed-by": "modelward"}
    meta = {"name": "deep", "namespace": place.cast.risk, "labels": labels}
    body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta}
    path = f"{SLICES}/namespaces/{place.cast.risk}/endpointslices"
    write_deep(place.cast.server, path, {**body, "addressType": "IPv4", "endpoints": [], "ports": []}, DEEPEST)
    place.put_routes()
    save(linear(), tmp_path / "m/model.onnx")
    with serve(tmp_path / "m", tmp_path, "--name", MODEL, "--host", "0.0.0.0") as pod:
        pod.until_ready()
        put_slice(place, pod.ports, ready=True)
        assert 200 == place.predict(place.cast.token("caller"))
    assert place.process.child.poll() is None


def test_a_route_that_changes_and_goes_is_followed(place: Place) -> None:
    place.put_routes()
    refusal = {"reason": "Suspended", "message": "spec.suspend is true"}
    place.put_routes(wake=False, refusal=refusal)
    assert 503 == place.predict(place.cast.token("caller"))
    assert 503 == call("GET", "127.0.0.1", place.ports[0], "/v2/health/ready")[0]
    request(place.cast.server, "DELETE", f"/api/v1/namespaces/{place.cast.risk}/configmaps/{ROUTES}")
    place.process.until(lambda: place.demand()["routes"] == {}, 60)


def put_slice(place: Place, ports: tuple[int, int, int], *, ready: bool) -> None:
    """What the EndpointSlice controller writes of a pod."""
    target = {"kind": "Pod", "namespace": place.cast.risk, "name": "p", "uid": "uid-1"}
    body = slice_of(ports, MODEL, own_address(), target, {"ready": ready, "serving": ready, "terminating": False})
    metadata = {"name": f"{MODEL}-abc", "labels": body["metadata"]["labels"]}
    whole = {**body, "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata}
    apply(place.cast.server, whole, namespace=place.cast.risk, dry_run=False)


def own_address() -> str:
    """One of this machine's that is not loopback, which the API takes for no pod's: nothing is sent to find it out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address: str = probe.getsockname()[0]
    return address

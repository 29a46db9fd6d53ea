"""An activator is replaced by another while clients call through it, as in a rollout: no call fails."""

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.activators import Stage, activator_of, slice_of
from tests.contract.test_activator_cycles import keep_calling_grpc, keep_calling_rest
from tests.kubernetes_watch import CONFIG_MAPS, NAMESPACE, SLICES, watched_api
from tests.ports import free_ports
from tests.processes import forward

pytestmark = pytest.mark.process


def test_clients_notice_nothing_when_an_activator_is_replaced(on: Stage, tmp_path: Path) -> None:
    pod = on.begin_pod()
    ended, calls = threading.Event(), Counter[int]()
    with (
        watched_api(tmp_path / "api2") as api,
        activator_of(api, tmp_path / "next", "--pod-admin-port", str(on.pod_ports[2])) as next_one,
        forward(on.ports[0]) as rest,
        forward(on.ports[1]) as grpc,
        ThreadPoolExecutor(4) as pool,
    ):
        ports = free_ports(2)
        text = json.dumps({"apiVersion": "activator/v1", "routes": [route_at(on, ports)]})
        api.put(CONFIG_MAPS, "routes", {"metadata": {"namespace": NAMESPACE}, "data": {"routes.json": text}})
        target = {"kind": "Pod", "namespace": "risk", "uid": pod.uid}
        api.put(SLICES, "s", slice_of(on.pod_ports, "m", pod.address, target, {"ready": False, "terminating": False}))
        next_one.until(lambda: json.loads(next_one.get("/demand")[1])["routes"])
        callers = [pool.submit(keep_calling_rest, rest.port, ended, calls, way) for way in (0, 1)]
        callers += [pool.submit(keep_calling_grpc, grpc.port, ended, calls, way) for way in (2, 3)]
        try:
            on.activator.until(lambda: served(on) > 20, 60)
            rest.target, grpc.target = ports  # what a change of the EndpointSlice is to new connections
            on.activator.signal()
            assert 0 == on.activator.exit_code(60)
            enough = {way: calls[way] + 6 for way in range(4)}  # through the next one
            next_one.until(
                lambda: any(caller.done() for caller in callers) or all(calls[way] >= enough[way] for way in enough)
            )
        finally:
            ended.set()
        for caller in callers:
            caller.result(120)


def route_at(on: Stage, ports: tuple[int, ...]) -> dict[str, object]:
    return {**on.routes["m"], "ports": {"http": ports[0], "grpc": ports[1]}}


def served(on: Stage) -> float:
    """How many answers the first one has given."""
    lines = on.activator.get("/metrics")[1].splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("modelward_activator_requests_total{"))

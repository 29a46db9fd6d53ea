"""The table of routes from its ConfigMaps, and the pods from their slices."""

import json
from typing import Any

import msgspec

from modelward_runtime.activator.endpoints import Endpoints, Slice
from modelward_runtime.activator.table import LINGER, ConfigMap, Table
from tests.activators import NOBODY, slice_of

ROUTE: dict[str, Any] = {
    "namespace": "risk",
    "access": NOBODY,
    "tls": None,
    "holdSeconds": 60,
    "maxHeld": 100,
    "wake": True,
    "refusal": None,
    "maxBodyBytes": 1000,
}
TARGET = {"kind": "Pod", "namespace": "risk", "uid": "u"}


def config_map(name: str, version: int, *models: tuple[str, int]) -> ConfigMap:
    routes = [{**ROUTE, "name": model, "ports": {"http": port, "grpc": port + 1}} for model, port in models]
    text = json.dumps({"apiVersion": "activator/v1", "routes": routes})
    return msgspec.convert(
        {"metadata": {"name": name, "resourceVersion": str(version)}, "data": {"routes.json": text}}, ConfigMap
    )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def names(table: Table) -> list[str]:
    return sorted(name for _, name in table.routes())


def test_all_config_maps_make_one_table() -> None:
    table = Table(Clock())
    table.reset([config_map("a", 1, ("m", 20000)), config_map("b", 2, ("n", 20002))])
    assert ["m", "n"] == names(table)
    assert {"a": 1, "b": 2} == table.in_force(lambda _: True)
    assert {"a": 1} == table.in_force(lambda route: route.name == "m")


def test_a_route_that_moves_from_one_config_map_to_another_is_never_away() -> None:
    clock = Clock()
    table = Table(clock)
    table.put(config_map("a", 1, ("m", 20000)))
    table.put(config_map("a", 2))
    assert ["m"] == names(table)
    table.put(config_map("b", 3, ("m", 20000)))
    clock.now += 2 * LINGER
    assert ["m"] == names(table)


def test_a_route_that_is_gone_goes_after_a_while() -> None:
    clock = Clock()
    table = Table(clock)
    table.put(config_map("a", 1, ("m", 20000), ("n", 20002)))
    table.put(config_map("a", 2, ("n", 20002)))
    assert ["m", "n"] == names(table)
    clock.now += LINGER
    assert ["n"] == names(table)
    table.drop(config_map("a", 3))
    clock.now += LINGER
    assert [] == names(table)


def test_a_port_that_was_given_to_another_model_is_that_models_at_once() -> None:
    table = Table(Clock())
    table.put(config_map("a", 1, ("m", 20000)))
    table.put(config_map("a", 2, ("n", 20000)))
    assert ["n"] == names(table)


def test_of_two_models_that_want_a_port_one_has_it() -> None:
    table = Table(Clock())
    table.put(config_map("a", 1, ("m", 20000), ("n", 20001)))
    assert ["m"] == names(table)


def test_what_cannot_be_parsed_keeps_what_was_there() -> None:
    table = Table(Clock())
    table.put(config_map("a", 1, ("m", 20000)))
    table.put(msgspec.convert({"metadata": {"name": "a", "resourceVersion": "2"}, "data": {}}, ConfigMap))
    assert (["m"], 1, {"a": 1}) == (names(table), table.invalid, table.in_force(lambda _: True))
    table.put(config_map("a", 3, ("m", 20000)))
    assert 0 == table.invalid


def slice_at(address: str, *, name: str = "s", **change: Any) -> Slice:
    body = slice_of((8080, 8081, 8082), "m", address, TARGET, {"ready": True, "terminating": False})
    labels = {**body["metadata"]["labels"], **change.pop("labels", {})}
    metadata = {**body["metadata"], "name": name, "labels": labels}
    return msgspec.convert({**body, "metadata": metadata, **change}, Slice)


def test_a_services_pods_are_those_of_all_its_slices() -> None:
    endpoints = Endpoints()
    touched = endpoints.reset([slice_at("10.0.0.1")])
    assert {("risk", "m")} == touched
    (pod,) = endpoints.pods(("risk", "m")).values()
    assert ("10.0.0.1", 8080, 8081, True, False) == (
        pod.address,
        pod.http_port,
        pod.grpc_port,
        pod.ready,
        pod.terminating,
    )
    assert {} == endpoints.pods(("other", "m"))


def test_a_pod_of_two_address_families_is_one() -> None:
    endpoints = Endpoints()
    endpoints.reset([slice_at("10.0.0.1"), slice_at("fd00::1", name="s6")])
    assert ["10.0.0.1"] == [pod.address for pod in endpoints.pods(("risk", "m")).values()]


def test_our_own_slice_and_strangers_do_not_count() -> None:
    ours = {"endpointslice.kubernetes.io/managed-by": "modelward"}
    outside = {"addresses": ["10.9.9.9"], "targetRef": {"kind": "Pod", "namespace": "kube-system", "uid": "x"}}
    for reason, one in (
        ("it leads to the activator", slice_at("10.0.0.1", labels=ours)),
        ("it is of another namespace", slice_at("10.0.0.1", endpoints=[outside])),
        ("it is no pod", slice_at("10.0.0.1", endpoints=[{"addresses": ["1.1.1.1"]}])),
        ("it has no port for gRPC", slice_at("10.0.0.1", ports=[{"name": "http", "port": 8080}])),
    ):
        endpoints = Endpoints()
        endpoints.put(one)
        assert {} == endpoints.pods(("risk", "m")), reason


def test_a_slice_that_goes_takes_its_pods_along_and_a_namespace_is_reset_alone() -> None:
    endpoints = Endpoints()
    endpoints.reset([slice_at("10.0.0.1")])
    assert {("risk", "m")} == endpoints.drop(slice_at("10.0.0.1"))
    assert {} == endpoints.pods(("risk", "m"))
    endpoints.put(slice_at("10.0.0.1"))
    assert set() == endpoints.reset([], "shop")
    assert endpoints.pods(("risk", "m"))
    assert {("risk", "m")} == endpoints.reset([], "risk")

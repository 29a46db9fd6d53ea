"""The EndpointSlice that puts the activator's pods behind a model's Service, on ports that are this model's alone.

It stands as long as the model may go to zero, without endpoints while pods serve: so its ports stay the model's, whoever leads.
"""

from typing import Any, Final

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names
from modelward_operator.plan.activation import Step

DISCOVERY: Final = "discovery.k8s.io/v1"


def endpoint_slice(given: Given, service: Json, step: Step, ports: tuple[int, int]) -> Json:
    """Return the slice; it names the Service's ports, each with the activator's port behind it."""
    numbers = dict(zip(("http", "grpc"), ports, strict=True))
    body: dict[str, Any] = {
        "addressType": _family(given),
        "ports": [
            {
                "name": port["name"],
                "protocol": port["protocol"],
                "port": numbers[port["name"]],
                "appProtocol": port["appProtocol"],
            }
            for port in service["spec"]["ports"]
        ],
    }
    if step.endpoints:  # an empty list comes back as none
        body["endpoints"] = [{"addresses": [address], "conditions": {"ready": True}} for address in step.endpoints]
    drawn = names.child(given, DISCOVERY, "EndpointSlice", names.activator_slice_name(given.key.name), **body)
    drawn["metadata"]["labels"] |= {names.SERVICE_NAME: given.key.name, names.SLICE_MANAGED_BY: names.MANAGER}
    drawn["metadata"]["annotations"] = {names.ACTIVATOR_PORTS: f"{ports[0]},{ports[1]}"} | (
        {names.JOINED: step.since.isoformat(timespec="milliseconds")} if step.since else {}
    )
    return drawn


def _family(given: Given) -> str:
    """Return the address family of the Service, which an EndpointSlice cannot change; IPv4 before there is one."""
    families = given.child("Service", given.key.name).get("spec", {}).get("ipFamilies") or ["IPv4"]
    return str(families[0])

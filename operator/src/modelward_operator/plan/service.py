"""The Service: one stable address for REST and gRPC."""

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names


def service(given: Given) -> Json:
    """Return the Service; the admin port is not on it."""
    return names.child(
        given,
        "v1",
        "Service",
        given.key.name,
        spec={
            "type": "ClusterIP",
            "selector": names.selector(given.key.name),
            "ports": [
                _port("http", names.HTTP_PORT, "http"),
                _port("grpc", names.GRPC_PORT, "kubernetes.io/h2c"),
            ],
        },
    )


def _port(name: str, number: int, protocol: str) -> Json:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}

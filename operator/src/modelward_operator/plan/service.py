"""The Service: one stable address for REST and gRPC."""

from modelward_operator.facts import Given, Json
from modelward_operator.plan import names


def service(given: Given, *, has_tls: bool) -> Json:
    """Return the Service; the admin port is not on it. Over TLS, HTTP and gRPC are told apart by ALPN, so both are `https`."""
    return names.child(
        given,
        "v1",
        "Service",
        given.key.name,
        spec={
            "type": "ClusterIP",
            "selector": names.selector(given.key.name),
            "ports": [
                _port("http", names.HTTP_PORT, "https" if has_tls else "http"),
                _port("grpc", names.GRPC_PORT, "https" if has_tls else "kubernetes.io/h2c"),
            ],
        },
    )


def _port(name: str, number: int, protocol: str) -> Json:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": protocol}

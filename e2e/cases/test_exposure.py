"""A model behind a real gateway: clients outside come through, are asked who they are, and come to the model that they mean."""

import ssl
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from e2e.cases.callers import token
from e2e.cases.case import PATIENCE, Case
from e2e.cases.gateway import DOMAIN, NAMESPACE, PLAIN, Gateway
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.test_access import account
from e2e.cases.test_zero import SOON

pytestmark = pytest.mark.exposure
STANDS = 30.0
"""Seconds until a gateway serves a route that it has taken."""
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}


def rest(gateway: Gateway, url: str, credential: str = "", model: str = NAME) -> httpx.Response:
    """POST an inference to a URL as clients outside do, with the gateway's address in place of DNS."""
    parts = urlsplit(url)
    host = f"{gateway.address}:{parts.port}"
    headers = {"host": parts.netloc} | ({"authorization": f"Bearer {credential}"} if credential else {})
    context = ssl.create_default_context(cafile=str(gateway.trust))
    with httpx.Client(verify=context, timeout=60, trust_env=False) as http:
        return http.post(
            f"{parts.scheme}://{host}/v2/models/{model}/infer",
            json=BODY,
            headers=headers,
            extensions={"sni_hostname": str(parts.hostname)},
        )


def grpc(gateway: Gateway, authority: str, model: str = NAME, **metadata: str) -> str:
    """The gRPC code of the same inference, or what the model adds."""
    client = tritonclient.grpc.InferenceServerClient(
        f"{gateway.address}:{PLAIN}", channel_args=[("grpc.default_authority", authority)]
    )
    zeros = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    zeros.set_data_from_numpy(np.zeros((1, 4), np.float32))
    try:
        headers = {name.replace("_", "-"): value for name, value in metadata.items()}
        return str(client.infer(model, [zeros], headers=headers, client_timeout=30).as_numpy("y")[0, 0])
    except InferenceServerException as refused:
        return str(refused.status()).removeprefix("StatusCode.")
    finally:
        client.close()


def added(answer: httpx.Response) -> float:
    assert answer.status_code == 200, answer.text
    return float(answer.json()["outputs"][0]["data"][0])


def exposure(gateway: Gateway, host: str, listener: str = "plain", **more: Any) -> Object:
    """An exposure under a hostname of the gateway's domain."""
    return {"hostnames": [f"{host}.{DOMAIN}"], "gateway": {"parentRefs": [gateway.parent(listener)]}, **more}


def exposed(case: Case, gateway: Gateway, name: str = NAME) -> str:
    """Wait until the gateway takes it, and until its servers go by what it said, which comes a moment later; return the URL."""
    case.wait_condition(name, "EndpointExposed", "True")
    url = str(case.model(name)["status"]["url"])
    wait("the route stands", lambda: rest(gateway, url, model=name).status_code not in {404, 503}, within=STANDS)
    return url


def security(case: Case, **more: Any) -> Object:
    """A model that asks for tokens and lets the case's `checkout` in."""
    case.apply(account("checkout"))
    subject = {"kind": "ServiceAccount", "name": "checkout", "namespace": case.namespace}
    return {"authentication": {"mode": "TokenReview", "allowedSubjects": [subject]}, **more}


def test_clients_outside_come_through_and_are_asked_who_they_are(case: Case, gateway: Gateway) -> None:
    hosts = exposure(gateway, case.namespace, grpcHostnames=[f"grpc.{case.namespace}.{DOMAIN}"])
    case.serve(security=security(case), exposure=hosts)
    url = exposed(case, gateway)
    assert url == f"http://{case.namespace}.{DOMAIN}:{PLAIN}"
    status = case.model()["status"]["exposure"]
    assert status == {"url": url, "grpc": f"grpc.{case.namespace}.{DOMAIN}:{PLAIN}", "addresses": [gateway.address]}
    good = token(case.kube, case.namespace, "checkout")
    assert rest(gateway, url).status_code == 401
    assert rest(gateway, url, "forged").status_code == 401
    assert added(rest(gateway, url, good)) == 1.0
    authority = str(status["grpc"])
    assert grpc(gateway, authority) == "UNAUTHENTICATED"
    assert grpc(gateway, authority, authorization=f"Bearer {good}") == "1.0"

    case.change({"exposure": {"allowFrom": [{"namespace": "elsewhere"}]}})
    case.wait_condition(NAME, "EndpointExposed", "True", text="lets its pods in from elsewhere")

    def is_shut() -> bool:
        return rest(gateway, url, good).status_code in {502, 503, 504}

    wait("the network policy keeps the gateway out", is_shut, within=PATIENCE)
    case.change({"exposure": {"allowFrom": [{"namespace": NAMESPACE}]}})
    wait("and lets it in again", lambda: rest(gateway, url, good).status_code == 200, within=PATIENCE)


def test_the_gateway_speaks_tls_to_the_pods_and_checks_whom_it_finds(case: Case, gateway: Gateway) -> None:
    case.serve(
        security=security(case, tls={"mode": "Managed"}), exposure=exposure(gateway, case.namespace, listener="secure")
    )
    url = exposed(case, gateway)
    assert url.startswith("https://")
    assert rest(gateway, url).status_code == 401
    assert added(rest(gateway, url, token(case.kube, case.namespace, "checkout"))) == 1.0


def test_models_share_a_hostname_by_their_names_and_none_takes_anothers(case: Case, gateway: Gateway) -> None:
    shared = exposure(gateway, case.namespace, grpcHostnames=[f"grpc.{case.namespace}.{DOMAIN}"], routing="ModelName")
    for name, path in ((NAME, "adder/1/"), (f"{NAME}-two", "adder/2/")):
        case.serve(path, name=name, exposure=shared)
    urls = {exposed(case, gateway, name) for name in (NAME, f"{NAME}-two")}
    assert len(urls) == 1
    url = urls.pop()
    assert added(rest(gateway, url)) == 1.0
    assert added(rest(gateway, url, model=f"{NAME}-two")) == 2.0
    authority = case.model()["status"]["exposure"]["grpc"]
    assert grpc(gateway, authority, modelward_model=NAME) == "1.0"
    assert grpc(gateway, authority, f"{NAME}-two", modelward_model=f"{NAME}-two") == "2.0"
    assert grpc(gateway, authority) not in {"1.0", "2.0"}, "who does not say which reaches nobody"

    case.change({"exposure": {"routing": "Hostname"}})
    exposed(case, gateway)
    case.apply(case.model_service(name="rival", exposure=exposure(gateway, case.namespace)))
    case.wait_condition("rival", "EndpointExposed", "False", "RouteConflict", f"{case.namespace}/{NAME}")


def test_what_the_gateway_refuses_is_told_in_its_own_words(case: Case, gateway: Gateway) -> None:
    case.apply(case.model_service(exposure=exposure(gateway, "closed", listener="closed")))
    case.wait_condition(NAME, "EndpointExposed", "False", "RouteRefused", "NotAllowedByListeners")
    case.change({"exposure": {"gateway": {"parentRefs": [{**gateway.parent("closed"), "name": "nobody"}]}}})
    case.wait_condition(NAME, "EndpointExposed", "False", "GatewayNotFound", f"{NAMESPACE}/nobody")
    case.change({"exposure": {"gateway": {"parentRefs": [gateway.parent("none")]}}})
    case.wait_condition(NAME, "EndpointExposed", "False", "ListenerNotFound", "plain, secure, closed")


def test_a_call_by_the_gateway_wakes_a_model_without_pods(case: Case, gateway: Gateway) -> None:
    case.serve(scaling=SOON, exposure=exposure(gateway, case.namespace, timeoutSeconds=60))
    url = exposed(case, gateway)
    case.wait_condition(NAME, "Ready", "True", "ScaledToZero")
    case.wait_pods(0)
    wait("the first call is answered", lambda: rest(gateway, url).status_code == 200, within=PATIENCE)


def test_an_ingress_is_served_and_asks_who_calls(case: Case, gateway: Gateway) -> None:
    entrance = {"ingressClassName": "modelward-traefik"}
    hosts = {"hostnames": [f"{case.namespace}.{DOMAIN}"], "allowFrom": [{"namespace": NAMESPACE}]}
    case.serve(security=security(case), exposure={**hosts, "ingress": entrance})
    case.wait_condition(NAME, "EndpointExposed", "True")
    assert case.model()["status"]["url"] == f"http://{case.namespace}.{DOMAIN}"
    assert case.model()["status"]["exposure"]["addresses"] == [gateway.address]
    url = f"http://{case.namespace}.{DOMAIN}:{PLAIN}"
    wait("the route stands", lambda: rest(gateway, url).status_code == 401, within=STANDS)
    assert added(rest(gateway, url, token(case.kube, case.namespace, "checkout"))) == 1.0

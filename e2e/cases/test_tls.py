"""A managed certificate: clients that trust the published bundle get through, and nobody else; renewed without a restart."""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc

from e2e.cases.case import Case
from e2e.cases.clients import GRPC, HTTP
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME

LIVE = 180
"""Seconds in which the kubelet brings a changed Secret to a running pod: it looks about once a minute."""
MANAGED = {"authentication": {"mode": "None"}, "tls": {"mode": "Managed"}}


def bundle(case: Case) -> str:
    """What a client reads: the ConfigMap that the status names."""
    told = case.model()["status"]["address"]["caBundle"]
    text = str(case.kube.find("ConfigMap", f"{NAME}-tls", case.namespace)["data"]["ca.crt"])
    assert f"{NAME}-tls" in str(told)
    return text


def ready(case: Case, trust: str) -> int:
    """GET the health route at the Service's address, under the Service's name."""
    host = f"{NAME}.{case.namespace}.svc"
    context = ssl.create_default_context(cadata=trust)
    with httpx.Client(verify=context, timeout=10, trust_env=False) as http:
        url = f"https://{case.service_address()}:{HTTP}/v2/health/ready"
        return http.get(url, headers={"host": host}, extensions={"sni_hostname": host}).status_code


def added_over_grpc(case: Case, trust: Path) -> float:
    client = tritonclient.grpc.InferenceServerClient(
        f"{case.service_address()}:{GRPC}",
        ssl=True,
        root_certificates=str(trust),
        channel_args=[("grpc.ssl_target_name_override", f"{NAME}.{case.namespace}.svc")],
    )
    zeros = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    zeros.set_data_from_numpy(np.zeros((1, 4), np.float32))
    try:
        return float(client.infer(NAME, [zeros], client_timeout=10).as_numpy("y")[0, 0])
    finally:
        client.close()


def served(case: Case) -> str:
    """The leaf that a client is shown, whoever signed it."""
    return ssl.get_server_certificate((case.service_address(), HTTP), timeout=10)


@pytest.mark.core
def test_clients_that_trust_the_bundle_get_through_and_nobody_reads_along(case: Case, tmp_path: Path) -> None:
    case.serve(security=MANAGED)
    case.wait_condition(NAME, "EndpointSecured", "True", text="TLS")
    assert case.model()["status"]["url"].startswith("https://")
    trust = tmp_path / "ca.crt"
    trust.write_text(bundle(case))
    assert ready(case, trust.read_text()) == 200
    assert added_over_grpc(case, trust) == 1.0
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{case.service_address()}:{HTTP}/v2/health/ready", timeout=5, trust_env=False)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        ready(case, case.store.ca_file.read_text())
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://{case.service_address()}:{HTTP}/", verify=ssl.create_default_context(cadata=bundle(case)))


def test_a_certificate_that_is_withdrawn_is_replaced_and_no_pod_restarts(case: Case) -> None:
    case.serve(security=MANAGED)
    (pod,) = case.pods()
    before = served(case)
    (record,) = (one for one in records(case) if one != f"{NAME}-tls")
    case.kube.delete("ConfigMap", record, case.namespace)
    shown: Callable[[], bool] = lambda: served(case) != before  # noqa: E731
    wait("another certificate is served", shown, within=LIVE)
    assert ready(case, bundle(case)) == 200
    case.wait_condition(NAME, "EndpointSecured", "True", within=LIVE)
    assert [pod["metadata"]["uid"]] == [one["metadata"]["uid"] for one in case.pods()]


def records(case: Case) -> list[str]:
    found = case.kube.list("ConfigMap", case.namespace, f"modelward.dev/model={NAME}")
    return [one["metadata"]["name"] for one in found if one["metadata"]["name"].startswith(f"{NAME}-tls")]

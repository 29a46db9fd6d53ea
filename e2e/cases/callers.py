"""Callers with a token, good or forged, over REST and gRPC: what they are answered, as the codes that a client sees.

Called by the cases about access. tritonclient and httpx carry the calls; kubectl makes the tokens.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, Final

import httpx
import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from e2e.cases.clients import GRPC, HTTP
from e2e.cases.kube import Kube

AUDIENCE: Final = "modelward.dev"
_BODY: Final = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]}


def token(kube: Kube, namespace: str, account: str, audience: str = AUDIENCE) -> str:
    """A fresh token of a ServiceAccount; an empty audience is the API server's own."""
    wanted = ["--audience", audience] if audience else []
    return kube.kubectl("create", "token", account, "-n", namespace, "--duration", "10m", *wanted).strip()


def over_rest(host: str, credential: str, model: str = "scorer") -> str:
    """The status of an inference; the credential is the whole header, none where it is empty."""
    headers = {"authorization": credential} if credential else {}
    url = f"http://{host}:{HTTP}/v2/models/{model}/infer"
    return str(httpx.post(url, json=_BODY, headers=headers, timeout=30, trust_env=False).status_code)


def over_grpc(host: str, credential: str, model: str = "scorer") -> str:
    """The gRPC code of the same inference."""
    zeros = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
    zeros.set_data_from_numpy(np.zeros((1, 4), np.float32))
    client = tritonclient.grpc.InferenceServerClient(f"{host}:{GRPC}")
    try:
        client.infer(model, [zeros], headers={"authorization": credential} if credential else {}, client_timeout=30)
    except InferenceServerException as refused:
        return str(refused.status()).removeprefix("StatusCode.")
    finally:
        client.close()
    return "OK"


WAYS: Final[dict[str, Callable[[str, str], str]]] = {"REST": over_rest, "gRPC": over_grpc}
CODES: Final = {
    "answered": {"REST": {"200"}, "gRPC": {"OK"}},
    "unknown": {"REST": {"401"}, "gRPC": {"UNAUTHENTICATED"}},
    "forbidden": {"REST": {"403"}, "gRPC": {"PERMISSION_DENIED"}},
    "too large": {"REST": {"400", "401", "431"}, "gRPC": {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}},
    "too many": {"REST": {"429"}, "gRPC": {"RESOURCE_EXHAUSTED"}},
}
"""What each kind of answer looks like to a client. Who sends kilobytes of token may be refused before anybody reads it."""


def unsigned(jwt: str) -> str:
    """The same claims, and a header that says nobody signed them."""
    _, claims, _ = jwt.split(".")
    return f"{_part({'alg': 'none', 'typ': 'JWT'})}.{claims}."


def claiming(jwt: str, **claims: Any) -> str:
    """Other claims under the signature of the real ones."""
    header, body, signature = jwt.split(".")
    told = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return f"{header}.{_part(told | claims)}.{signature}"


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

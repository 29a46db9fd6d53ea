"""A house to break into: the real command behind a door with TLS, who takes part, and how to call it over REST and gRPC."""

import json
import re
import ssl
import time
import urllib.request
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.callers import Answer, Caller, Grpc, Rest
from tests.integration.apiserver import TOKEN, ApiServer
from tests.integration.cast import Cast
from tests.issuer import Issuer
from tests.onnx_models import linear, save
from tests.processes import POLICY, Process, run
from tests.serving_certificates import Authority, mount
from tests.tokens import Mint

UNAUTHENTICATED = ("UNAUTHENTICATED", "access: unauthenticated: send a valid bearer token")
FORBIDDEN = ("PERMISSION_DENIED", "access: forbidden: this subject may not predict with this model")
UNAVAILABLE = ("UNAVAILABLE", "access: unavailable: the caller cannot be checked now, try again")
TRANSPORTS = ("rest", "grpc")
URL = "https://issuer.example"


@dataclass(frozen=True)
class House:
    """A served model behind a door, and who makes good tokens for it."""

    process: Process
    cast: Cast
    authority: Authority
    mint: Mint
    issuer: Issuer | None = None

    def call(self, transport: str) -> Caller:
        ports = self.process.ports
        return Rest(ports[0], self.authority.trust()) if transport == "rest" else Grpc(ports[1], self.authority.pem)


def serving(
    cast: Cast, authority: Authority, folder: Path, authentication: dict[str, Any]
) -> AbstractContextManager[Process]:
    """The real command with this door, ready."""
    pair = authority.issue()
    mount(folder / "tls", pair.certificate, pair.key)
    save(linear(), folder / "model/model.onnx")
    access = cast.access(authentication, tls={"directory": str(folder / "tls")})
    return run(folder, {"directory": str(folder / "model")}, access=access)


def said(answer: Answer) -> tuple[str, str]:
    return answer.code, answer.words


def fresh(house: House) -> str:
    """A token that was never seen before."""
    return f"Bearer {house.mint.token(jti=uuid.uuid4().hex)}"


def reviews(server: ApiServer) -> int:
    """How many TokenReviews the API server has answered."""
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}),
        context=ssl._create_unverified_context(),
    ) as answer:
        found = re.findall(
            r'apiserver_request_total\{[^}]*resource="tokenreviews"[^}]*\} (\d+)', answer.read().decode()
        )
    return sum(map(int, found))


def set_policy(house: House, **fields: Any) -> None:
    generation = uuid.uuid4().hex[:12]
    house.process.set_policy(json.dumps({**POLICY, "generation": generation, **fields}))
    until(lambda: house.process.report()["policyGeneration"] == generation, 60)


def until(condition: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)

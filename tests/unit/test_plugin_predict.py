"""Predict: who asks, through which door, over which trust; and what an answer that is none means."""

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelward_operator.plugin.call import call, trusting
from modelward_operator.plugin.kubectl import KubectlError
from modelward_operator.plugin.predict import (
    HINTS,
    Account,
    Answer,
    NoWay,
    account_for,
    audience,
    closed,
    door_at_zero,
    hint,
    ready_pod,
    tls_mode,
    url_path,
)
from tests.makers import make_model
from tests.plugin_models import broken
from tests.serving_certificates import Authority
from tests.until import PATIENCE

Json = dict[str, Any]


def calling(**authentication: Any) -> Json:
    return make_model({"security": {"authentication": authentication}})


CHECKOUT = {"kind": "ServiceAccount", "name": "checkout", "namespace": "shop"}


@pytest.mark.parametrize(
    ("reason", "model", "asked", "account"),
    [
        ("nobody asks", calling(mode="None"), "", None),
        (
            "the first that may",
            calling(allowedSubjects=[{"kind": "User", "name": "a"}, CHECKOUT]),
            "",
            Account("shop", "checkout"),
        ),
        ("one that was named, here", calling(), "visitor", Account("risk", "visitor")),
        (
            "one that was named, elsewhere",
            calling(allowedSubjects=[CHECKOUT]),
            "web/visitor",
            Account("web", "visitor"),
        ),
        ("an absent authentication asks too", make_model(), "visitor", Account("risk", "visitor")),
    ],
)
def test_who_asks(reason: str, model: Json, asked: str, account: Account | None) -> None:
    assert account == account_for(model, asked), reason


def test_who_cannot_be_told_is_said_with_what_to_give() -> None:
    with pytest.raises(NoWay, match="--service-account"):
        account_for(make_model(), "")
    with pytest.raises(NoWay, match="--token-file"):
        account_for(calling(mode="JWT"), "visitor")


def test_what_a_model_is_asked_for() -> None:
    assert "/v2/models/fraud/infer" == url_path(make_model())
    named = make_model({"model": {"uri": "s3://m/1/", "name": "fraud scorer/7"}})
    assert "/v2/models/fraud%20scorer%2F7" == url_path(named, describe=True)
    assert ("modelward.dev", "team-a") == (audience(make_model()), audience(calling(audience="team-a")))
    assert ("Off", "Managed") == (
        tls_mode(make_model()),
        tls_mode(make_model({"security": {"tls": {"mode": "Managed"}}})),
    )


def pod(name: str, address: str = "10.0.0.1", *, ready: str = "True", **metadata: str) -> Json:
    conditions = [{"type": "Ready", "status": ready}]
    return {
        "metadata": {"name": name, "namespace": "home", **metadata},
        "status": {"podIP": address, "conditions": conditions},
    }


def test_a_pod_that_takes_requests_is_the_door() -> None:
    assert "b" == ready_pod([pod("c"), pod("b"), pod("a", ready="False"), pod("0", deletionTimestamp="now")])
    assert "" == ready_pod([pod("a", ready="False")])


SLICE: Json = {
    "metadata": {"annotations": {"modelward.dev/activator-ports": "20004,20005"}},
    "endpoints": [{"addresses": ["10.0.0.7"]}],
}


@pytest.mark.parametrize(
    ("reason", "endpoint_slice", "activators", "door"),
    [
        ("it knows the model and is ready", SLICE, [pod("act", "10.0.0.7")], ("home", "act", 20004)),
        ("another address", SLICE, [pod("act", "10.0.0.8")], None),
        ("not ready", SLICE, [pod("act", "10.0.0.7", ready="False")], None),
        ("it has left", {**SLICE, "endpoints": None}, [pod("act", "10.0.0.7")], None),
        ("no ports", {"metadata": {}}, [pod("act", "10.0.0.7")], None),
    ],
)
def test_at_zero_the_activator_is_the_door(
    reason: str, endpoint_slice: Json, activators: list[Json], door: Any
) -> None:
    assert door == door_at_zero(endpoint_slice, activators), reason


def test_a_model_that_nobody_serves_says_why() -> None:
    assert "Ready is False, DigestMismatch. What to do: kubectl modelward status fraud -n risk" in str(closed(broken()))


@pytest.mark.parametrize("status", sorted(HINTS))
def test_each_refusal_says_what_to_do(status: int) -> None:
    words = hint(Answer(status, b'{"error": "access: x: y"}', "7"), make_model(), "ServiceAccount shop/checkout")
    assert "{" not in words
    assert ("Try again in 7 s." in words) == (status in {429, 503})
    assert ("ServiceAccount shop/checkout may not predict" in words) == (status == 403)


def test_what_a_policy_refuses_explains_itself() -> None:
    said = b'{"error": "policy: epsilon-exhausted: the budget is spent"}'
    assert "Try again in 60 s." == hint(Answer(403, said, "60"), make_model(), "")
    assert "" == hint(Answer(400, said), make_model(), "")
    assert "" == hint(Answer(500, b"{}"), make_model(), "")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Says what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = {"path": self.path, "host": self.headers["Host"], "token": self.headers.get("Authorization", "")}
        self.send_response(429)
        self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(json.dumps({**told, "body": body.decode()}).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: http.server.HTTPServer, trust: ssl.SSLContext | None = None, host: str = "fraud.risk.svc") -> Answer:
    address = f"127.0.0.1:{server.server_address[1]}"
    return call(address, "/v2", host, body=b"{}", headers={"Authorization": "Bearer t"}, trust=trust, timeout=PATIENCE)


def test_a_call_speaks_to_the_endpoint_in_its_own_name(endpoint: http.server.HTTPServer) -> None:
    answer = ask(endpoint)
    assert (429, "3") == (answer.status, answer.retry_after)
    assert {"path": "/v2", "host": "fraud.risk.svc", "token": "Bearer t", "body": "{}"} == json.loads(answer.body)


def test_over_tls_only_the_endpoints_own_certificate_counts(endpoint: http.server.HTTPServer, tmp_path: Path) -> None:
    authority = Authority()
    made = authority.issue()
    (tmp_path / "pair.pem").write_bytes(made.certificate + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    endpoint.socket = context.wrap_socket(endpoint.socket, server_side=True)
    trust = trusting(authority.pem.decode())
    assert 429 == ask(endpoint, trust, "localhost").status
    with pytest.raises(KubectlError, match=r"not one for fraud\.risk\.svc"):
        ask(endpoint, trust)
    with pytest.raises(KubectlError, match="not one for localhost"):
        ask(endpoint, ssl.create_default_context(), "localhost")


def test_what_cannot_be_reached_or_does_not_answer_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(KubectlError, match="the connection broke"):
            call(address, "/", "h", body=None, headers={}, trust=None, timeout=PATIENCE)
        taken.listen()
        with pytest.raises(KubectlError, match=r"no answer within 0\.1 s"):
            call(address, "/", "h", body=None, headers={}, trust=None, timeout=0.1)
    with pytest.raises(KubectlError, match="no certificate"):
        trusting("none")

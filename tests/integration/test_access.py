"""The door of the real command on a real API server: every attack of the table and every honest caller, over REST and gRPC with TLS."""

import os
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.attacks import ATTACKS
from tests.callers import Caller, Grpc, Rest, request
from tests.integration.apiserver import TOKEN, ApiServer
from tests.integration.cast import AUDIENCE, MODEL, Cast, assemble
from tests.integration.house import (
    FORBIDDEN,
    TRANSPORTS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    URL,
    House,
    fresh,
    reviews,
    said,
    serving,
    set_policy,
    until,
)
from tests.issuer import issuer
from tests.onnx_models import WEIGHTS
from tests.serving_certificates import Authority, mount, shown
from tests.tokens import Mint, jwk


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def cast(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Cast:
    return assemble(server, tmp_path_factory.mktemp("pod"))


@pytest.fixture(scope="module")
def tokenreview(cast: Cast, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    authentication = cast.authentication(mode="TokenReview", audience=AUDIENCE)
    with serving(cast, authority, tmp_path_factory.mktemp("tokenreview"), authentication) as process:
        process.until_ready()
        yield House(process, cast, authority, cast.mint())


@pytest.fixture(scope="module")
def jwt(cast: Cast, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("jwt")
    key = rsa.generate_private_key(65537, 2048)
    with issuer(authority, folder / "issuer") as running:
        running.keys = [jwk(key, "k1", alg="RS256", use="sig")]
        authentication = cast.authentication(
            mode="JWT", issuer=URL, audiences=[AUDIENCE], jwksUri=running.url, algorithms=["RS256", "ES256"],
            usernameClaim="sub", usernamePrefix="oidc:", groupsClaim="groups", groupsPrefix="oidc:",
            caBundleFile=str(folder / "issuer/ca.pem"),
        )  # fmt: skip
        mint = Mint(key, {"alg": "RS256", "kid": "k1", "typ": "JWT"}, {"iss": URL, "aud": AUDIENCE, "sub": "ada"})
        with serving(cast, authority, folder, authentication) as process:
            process.until_ready()
            yield House(process, cast, authority, mint, running)


@pytest.fixture(params=["TokenReview", "JWT"])
def house(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue(request.param.lower())
    found.process.until_ready()
    return found


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def caller(house: House, transport: str) -> Iterator[Caller]:
    made = house.call(transport)
    yield made
    made.close()


def test_every_attack_is_refused_in_the_same_words(house: House, caller: Caller) -> None:
    mode = house.process.report()["access"]["authentication"]
    assert ("OK", "") == said(caller.infer(fresh(house))), "the mint makes good tokens"
    wrong = {}
    for attack in ATTACKS:
        if mode in attack.modes:
            answer = caller.infer(attack.send(house.mint))
            if said(answer) != UNAUTHENTICATED:
                wrong[attack.reason] = said(answer)
            elif isinstance(caller, Rest):
                assert "Bearer" == answer.extra["www-authenticate"], attack.reason
    assert {} == wrong
    assert ("OK", "") == said(caller.infer(fresh(house))), "the door still opens"


def test_health_and_the_admin_port_are_open_and_all_else_is_not(house: House, caller: Caller) -> None:
    for what in ("live", "ready"):
        assert ("OK", "") == said(caller.ask(what)), what
    for what in ("model_ready", "server", "model", "index", "nothing"):
        assert UNAUTHENTICATED == said(caller.ask(what)), what
    for what in ("model_ready", "server", "model", "index"):
        assert ("OK", "") == said(caller.ask(what, fresh(house))), what
    for path in ("/livez", "/startupz", "/readyz", "/metrics", "/report"):
        assert 200 == house.process.get(path)[0], path


def test_a_caller_who_may_is_told_what_is_wrong_with_the_request(house: House, caller: Caller) -> None:
    assert ("NOT_FOUND", "that model is not served here, 'm' is") == said(caller.infer(fresh(house), "other"))
    assert UNAUTHENTICATED == said(caller.infer(None, "other")), "and others do not learn which models there are"


@pytest.mark.parametrize(
    ("reason", "account"),
    [("no role", "stranger"), ("another model's role", "other"), ("in another namespace", "elsewhere")],
)
def test_a_service_account_without_the_right_is_forbidden(
    tokenreview: House, transport: str, reason: str, account: str
) -> None:
    caller = tokenreview.call(transport)
    assert FORBIDDEN == said(caller.infer(f"Bearer {tokenreview.cast.token(account)}")), reason
    caller.close()


def test_a_token_for_the_api_server_opens_no_model(tokenreview: House, transport: str) -> None:
    caller = tokenreview.call(transport)
    token = tokenreview.cast.token("caller", audience="https://kubernetes.default.svc")
    assert UNAUTHENTICATED == said(caller.infer(f"Bearer {token}")), "without our audience"
    assert UNAUTHENTICATED == said(caller.infer(f"Bearer {TOKEN}")), "not even an administrator's"
    caller.close()


@pytest.mark.parametrize(
    ("reason", "claims", "expected"),
    [
        ("by name", {"sub": "ada"}, ("OK", "")),
        ("by group", {"sub": "bob", "groups": ["staff", "risk"]}, ("OK", "")),
        ("neither", {"sub": "bob", "groups": ["staff"]}, FORBIDDEN),
        ("the prefix is ours to put there", {"sub": "bob", "groups": ["oidc:risk"]}, FORBIDDEN),
        ("groups of an administrator", {"sub": "bob", "groups": ["system:masters"]}, FORBIDDEN),
        ("a Kubernetes user", {"sub": "system:admin"}, FORBIDDEN),
    ],
)  # fmt: skip
def test_users_and_groups_of_an_issuer_are_judged_by_rbac(
    jwt: House, transport: str, reason: str, claims: dict[str, Any], expected: tuple[str, str]
) -> None:
    caller = jwt.call(transport)
    assert expected == said(caller.infer(f"Bearer {jwt.mint.token(**claims)}")), reason
    caller.close()


def test_tritonclient_predicts_with_a_token_over_tls(house: House, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(house.authority.pem)
    http_port, grpc_port, _ = house.process.ports
    rest = triton_http.InferenceServerClient(
        f"localhost:{http_port}", ssl=True, ssl_context_factory=house.authority.trust
    )
    grpc_client = triton_grpc.InferenceServerClient(
        f"localhost:{grpc_port}", ssl=True, root_certificates=str(tmp_path / "ca.pem")
    )
    rows = np.ones((2, 4), np.float32)
    for kind, client in ((triton_http, rest), (triton_grpc, grpc_client)):
        tensor = kind.InferInput("x", rows.shape, "FP32")
        tensor.set_data_from_numpy(rows)
        result = client.infer("m", [tensor], headers={"authorization": fresh(house)})
        np.testing.assert_allclose(rows @ WEIGHTS, result.as_numpy("y"))
        client.close()


def test_who_is_refused_is_refused_before_a_body_comes(house: House) -> None:
    with (
        socket.create_connection(("127.0.0.1", house.process.ports[0])) as plain,
        house.authority.trust().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n"
                           b"expect: 100-continue\r\n\r\n")  # fmt: skip
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 "), "and not 100 Continue"
    rest = house.call("rest")
    assert isinstance(rest, Rest)
    assert UNAUTHENTICATED == said(rest.send("POST", "/v2/models/m/infer", "Bearer x", b" " * 5_000_000))
    assert ("OK", "") == said(rest.infer(fresh(house))), "what nobody read does not disturb the next request"
    rest.close()
    caller = house.call("grpc")
    assert isinstance(caller, Grpc)
    silent = caller.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        silent(iter(threading.Event().wait, True), timeout=20)  # a message that never comes
    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()
    caller.close()


def test_a_burst_with_one_token_is_one_review(tokenreview: House) -> None:
    token, before = fresh(tokenreview), reviews(tokenreview.cast.server)
    callers = [tokenreview.call(TRANSPORTS[number % 2]) for number in range(30)]
    with ThreadPoolExecutor(len(callers)) as pool:
        assert [("OK", "")] * len(callers) == list(pool.map(lambda caller: said(caller.ask("live")), callers))
        answers = list(pool.map(lambda caller: said(caller.infer(token)), callers))  # they are connected: it is a burst
    for caller in callers:
        caller.close()
    assert [("OK", "")] * len(callers) == answers
    until(lambda: reviews(tokenreview.cast.server) > before, 60)  # it counts a request after it has answered it
    assert 1 == reviews(tokenreview.cast.server) - before


def test_a_deleted_account_is_out_within_the_caches_and_its_stream_ends(tokenreview: House) -> None:
    cast = tokenreview.cast
    cast.grant("leaver", MODEL, cast.make_account("leaver"))
    authorization = f"Bearer {cast.token('leaver')}"
    rest, stub = tokenreview.call("rest"), tokenreview.call("grpc")
    assert isinstance(stub, Grpc)
    assert ("OK", "") == said(rest.infer(authorization))
    going = threading.Event()
    stream = stub.stub.ModelStreamInfer(
        (request() for _ in iter(lambda: going.wait(0.2), True)), metadata=[("authorization", authorization)]
    )
    assert not next(stream).error_message
    cast.delete_account("leaver")
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert grpc.StatusCode.UNAUTHENTICATED == caught.value.code()
    assert time.monotonic() - began < 22, "ten seconds of ours after ten of the API server's own cache"
    assert UNAUTHENTICATED == said(rest.infer(authorization))
    going.set()
    rest.close()
    stub.close()


def test_while_the_api_server_hangs_the_known_come_in_for_seconds_and_nobody_else(house: House) -> None:
    caller, another, known, unknown = house.call("rest"), house.call("rest"), fresh(house), fresh(house)
    assert ("OK", "") == said(another.ask("live"))
    assert ("OK", "") == said(caller.infer(known))
    admitted = time.monotonic()
    api = house.cast.server.pids[1]
    os.kill(api, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(1) as pool:
            began, waiting = time.monotonic(), pool.submit(another.infer, unknown)
            assert ("OK", "") == said(caller.infer(known)), "still within ten seconds"
            assert UNAVAILABLE == said(waiting.result())
            assert time.monotonic() - began < 9, "one who cannot be checked waits for two attempts"
        assert 200 == house.process.get("/readyz")[0], "a pod stays ready: its neighbours fare no better"
        time.sleep(max(0.0, admitted + 10.2 - time.monotonic()))
        assert UNAVAILABLE == said(caller.infer(known)), "and then closed"
    finally:
        os.kill(api, signal.SIGCONT)
    until(lambda: said(caller.infer(known)) == ("OK", ""), 60)
    caller.close()
    another.close()


def test_the_pods_own_token_is_read_anew(tokenreview: House) -> None:
    caller, cast = tokenreview.call("rest"), tokenreview.cast
    (cast.folder / "token").write_text("revoked")
    assert UNAVAILABLE == said(caller.infer(fresh(tokenreview))), "it is not the caller's fault"
    cast.renew_own_token()
    assert ("OK", "") == said(caller.infer(fresh(tokenreview)))
    caller.close()


def test_limits_hold_per_subject_over_both_transports_and_change_live(tokenreview: House) -> None:
    cast, folder = tokenreview.cast, tokenreview.process.folder
    cast.grant("second", MODEL, cast.make_account("second"))
    first, second = fresh(tokenreview), f"Bearer {cast.token('second')}"
    rest, stub = tokenreview.call("rest"), tokenreview.call("grpc")
    assert isinstance(stub, Grpc)
    set_policy(tokenreview, limits={"requestsPerSecond": "0.01", "burst": 3})
    assert ("OK", "") == said(rest.infer(first))
    answers = list(stub.stub.ModelStreamInfer(iter([request()] * 3), metadata=[("authorization", first)]))
    limited = "access: rate-limited: requests of this subject come too fast, retry in "
    assert ["", "", limited] == [answer.error_message[: len(limited)] for answer in answers], "each of a stream counts"
    other_token = fresh(tokenreview)
    refused = rest.infer(other_token), stub.infer(other_token)
    assert {"RESOURCE_EXHAUSTED"} == {answer.code for answer in refused}, "another token of the same subject"
    assert 50 < int(refused[0].extra["retry-after"]) <= 100
    assert 50_000 < int(refused[1].extra["grpc-retry-pushback-ms"]) <= 100_000
    assert ("OK", "") == said(rest.ask("model", first)), "only inference is counted"
    assert ("OK", "") == said(rest.infer(second)), "another subject"
    set_policy(tokenreview)
    assert ("OK", "") == said(rest.infer(first))
    assert (folder / "policy.json").exists()
    rest.close()
    stub.close()


def test_a_renewed_certificate_is_shown_at_once_and_drops_no_connection(house: House, caller: Caller) -> None:
    folder, trust = house.process.folder / "tls", house.authority.trust()
    assert ("OK", "") == said(caller.infer(fresh(house)))
    for kind in ("RSA", "EC"):
        before, told = house.process.report()["access"]["tls"]["sha256"], house.process.log().count("not the key")
        renewed = house.authority.issue(kind)
        mount(folder, renewed.certificate, house.authority.issue(kind).key)
        until(lambda: house.process.log().count("not the key") > told, 60)  # noqa: B023  waited for here
        assert before == house.process.report()["access"]["tls"]["sha256"], "half a pair is never shown"
        mount(folder, renewed.certificate, renewed.key)
        until(lambda: house.process.report()["access"]["tls"]["sha256"] == renewed.sha256, 60)  # noqa: B023  waited for here
        shows = {shown(port, trust, name) for port in house.process.ports[:2] for name in ("localhost", "127.0.0.1")}
        assert {renewed.sha256} == shows
        assert ("OK", "") == said(caller.infer(fresh(house))), "on the connection from before"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_of_tls_are_refused(house: House, version: ssl.TLSVersion) -> None:
    trust = house.authority.trust()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        trust.minimum_version, trust.maximum_version = version, version
    trust.set_ciphers("ALL:@SECLEVEL=0")
    for port in house.process.ports[:2]:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shown(port, trust)


def test_neither_log_nor_metrics_hold_a_token_or_metrics_a_subject(house: House, caller: Caller) -> None:
    token = fresh(house).removeprefix("Bearer ")
    assert ("OK", "") == said(caller.infer(f"Bearer {token}"))
    assert UNAUTHENTICATED == said(caller.infer(f"Bearer {token}x"))
    metrics, log = house.process.get("/metrics")[1], house.process.log()
    assert 'modelward_refused_total{reason="unauthenticated"}' in metrics
    subject = "system:serviceaccount" if house.issuer is None else "oidc:"
    assert subject not in metrics
    for text in (metrics, log):
        assert not [part for part in token.split(".") if part in text]

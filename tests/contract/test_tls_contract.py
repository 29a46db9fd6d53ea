"""A certificate that the operator issues is one that the runtime takes, and both call it by the same hash and time."""

import ssl
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

from modelward_operator.cluster.x509 import Pair, fingerprint, new_authority, new_leaf, validity
from modelward_operator.status.reported import access_of
from modelward_runtime.access.certificate import make_context, read_pair
from tests.ports import free_ports

NAMES = ("fraud.risk.svc", "fraud.risk.svc.cluster.local")


def test_the_runtime_serves_what_the_operator_issues_and_a_client_of_the_bundle_believes_it(tmp_path: Path) -> None:
    authority = new_authority(datetime.now(UTC), "cluster.local")
    leaf = new_leaf(authority, NAMES, datetime.now(UTC))
    (tmp_path / "tls.crt").write_text(leaf.certificate)
    (tmp_path / "tls.key").write_text(leaf.key)
    pair = read_pair(tmp_path)
    said = access_of({"access": {"authentication": "TokenReview", "tls": pair.told}})
    assert fingerprint(leaf.certificate) == said.sha256
    assert validity(leaf.certificate)[1] == said.not_after
    client = ssl.create_default_context(cadata=authority.certificate)
    for name in NAMES:
        shake_hands(make_context(pair), client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(make_context(pair), client, "fraud")


@pytest.mark.parametrize(("name", "believed"), [(NAMES[0], True), (NAMES[1], True), ("www.example.com", False)])
def test_openssl_and_boringssl_hold_the_ca_to_the_names_that_it_is_bound_to(name: str, believed: bool) -> None:
    authority = new_authority(datetime.now(UTC), "cluster.local")
    leaf = new_leaf(authority, [name], datetime.now(UTC))
    assert openssl_believes(authority, leaf, name) is believed
    assert grpc_believes(authority, leaf, name) is believed


def openssl_believes(authority: Pair, leaf: Pair, name: str) -> bool:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(leaf.key + leaf.certificate)
        file.flush()
        served.load_cert_chain(file.name)
    client = ssl.create_default_context(cadata=authority.certificate)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        shake_hands(served, client, name)
    except ssl.SSLCertVerificationError as error:
        return "permitted subtree violation" not in str(error)  # refused for anything else, it was not the constraint
    return True


def grpc_believes(authority: Pair, leaf: Pair, name: str) -> bool:
    (port,) = free_ports(1)
    server = grpc.server(ThreadPoolExecutor(1))
    pair = (leaf.key.encode(), leaf.certificate.encode())
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    trust = grpc.ssl_channel_credentials(authority.certificate.encode())
    options = [("grpc.ssl_target_name_override", name)]
    try:
        with grpc.secure_channel(f"127.0.0.1:{port}", trust, options=options) as channel:
            channel.unary_unary("/a/B")(b"", timeout=5)
    except grpc.RpcError as error:
        code = error.code()
    finally:
        server.stop(None).wait()
    assert code in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAVAILABLE}
    return code is grpc.StatusCode.UNIMPLEMENTED  # it was heard: the server has no method


def shake_hands(served: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Run a TLS handshake in memory; raises ssl.SSLError when the client does not believe the server."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up, server_hostname=name), served.wrap_bio(up, down, server_side=True)]
    done = [False, False]
    while not all(done):
        for index, side in enumerate(sides):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                continue

"""TLS at both ends: a certificate of the activator's own CA for callers, and the pods' CA for pods; a new CA is taken while it runs."""

import socket
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.activators import Pod, Stage
from tests.callers import Caller, Grpc, Rest
from tests.processes import run
from tests.serving_certificates import Authority, mount

pytestmark = pytest.mark.process


def found(directory: Path, name: str) -> bytes:
    """A CA as the operator founds it, mounted for the activator; its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
    mount(directory, certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate


def rest_of(on: Stage, ca: bytes) -> Rest:
    return Rest(on.ports[0], ssl.create_default_context(cadata=ca.decode()))


def infer(caller: Caller, token: str | None = None) -> str:
    with closing(caller):
        return caller.infer(token).code


def ask(caller: Caller) -> str:
    with closing(caller):
        return caller.ask("ready").code


def test_calls_are_held_and_forwarded_by_tls_at_both_ends(on: Stage, tmp_path: Path) -> None:
    ca, pods_ca = found(on.activator.folder / "ca", "activator"), Authority("pods")
    on.route(tls={"dnsNames": ["localhost"], "caBundle": pods_ca.pem.decode()})
    pair = pods_ca.issue()
    mount(tmp_path / "tls", pair.certificate, pair.key)
    http, grpc, admin = on.pod_ports
    parts: dict[str, Any] = {
        "access": {"tls": {"directory": str(tmp_path / "tls")}},
        "server": {"httpPort": http, "grpcPort": grpc, "adminPort": admin},
    }
    with ThreadPoolExecutor(2) as pool:
        calls: list[Future[str]] = [
            pool.submit(infer, rest_of(on, ca)),
            pool.submit(infer, Grpc(on.ports[1], ca)),
        ]
        on.until_held(2)
        source = {"name": "m", "version": "1", "directory": str(on.model)}
        with run(tmp_path / "pod", source, **parts) as process:
            on.list_pod(Pod(process, "uid", "127.3.0.1"))
            assert ["OK", "OK"] == [call.result(120) for call in calls]
            assert ["OK", "OK"] == [infer(rest_of(on, ca)), infer(Grpc(on.ports[1], ca))]


def test_a_pod_that_shows_another_certificate_is_not_spoken_to(on: Stage, tmp_path: Path) -> None:
    found(on.activator.folder / "ca", "activator")
    stranger, pod = Authority("stranger").issue(), on.stranger()
    (tmp_path / "pair.pem").write_bytes(stranger.key + stranger.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    on.route(tls={"dnsNames": ["localhost"], "caBundle": Authority("pods").pem.decode()}, holdSeconds=2)
    ca = (on.activator.folder / "ca/tls.crt").read_bytes()
    seen: list[bytes] = []
    with socket.create_server((pod.address, on.pod_ports[0])) as server, ThreadPoolExecutor(1) as pool:
        on.list_pod(pod, ready=True)
        call = pool.submit(infer, rest_of(on, ca), "Bearer secret")
        taken, _ = server.accept()
        with pytest.raises(ssl.SSLError), context.wrap_socket(taken, server_side=True) as secured:
            seen.append(secured.recv(1 << 16))
        code = call.result(30)
    assert ([], "UNAVAILABLE") == (seen, code)


def test_the_certificate_is_short_lived_and_follows_its_ca(on: Stage) -> None:
    first = found(on.activator.folder / "ca", "first")
    on.route(tls={"dnsNames": ["localhost"], "caBundle": Authority("pods").pem.decode()})
    assert "OK" == ask(rest_of(on, first))
    assert "OK" == ask(Grpc(on.ports[1], first))
    leaf = x509.load_der_x509_certificate(shown(on.ports[0]))
    assert leaf.not_valid_after_utc - datetime.now(UTC) <= timedelta(hours=24)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    second = found(on.activator.folder / "ca", "second")
    on.activator.until(lambda: issuer(shown(on.ports[0])) == "second", 20)
    assert "OK" == ask(rest_of(on, second))
    assert "OK" == ask(Grpc(on.ports[1], second))


def test_without_a_ca_the_port_stays_closed_until_there_is_one(on: Stage) -> None:
    tls = {"dnsNames": ["localhost"], "caBundle": Authority("pods").pem.decode()}
    on.routes["m"]["tls"] = tls
    on.write_routes(wait=False)
    on.activator.until(lambda: "modelward_activator_routes_closed 1.0" in on.activator.get("/metrics")[1], 15)
    assert {} == on.demand()["routes"], "the operator must not count on it"
    ca = found(on.activator.folder / "ca", "late")
    on.activator.until(lambda: on.demand()["routes"], 15)
    assert "OK" == ask(rest_of(on, ca))


def shown(port: int) -> bytes:
    """The certificate of a handshake that names nobody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as secured:
        certificate = secured.getpeercert(binary_form=True)
    assert certificate
    return certificate


def issuer(certificate: bytes) -> str:
    (name,) = x509.load_der_x509_certificate(certificate).issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)

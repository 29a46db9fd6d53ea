"""The cluster's certificates and keys, made once per boot with openssl and thrown away by `down`.

Two authorities, as on a user's cluster: one for Kubernetes, one for the object store, which thereby has the private CA
that `storage.caBundleRef` is for. A third signs what the API server shows to aggregated API servers.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster.paths import API_SERVICE_ADDRESS, CERTIFICATES, CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME

AUTHORITIES = ("ca", "front-proxy-ca", "s3-ca")
DAYS = "365"


@dataclass(frozen=True)
class Certificate:
    """One leaf: its file name, its subject, who signs it, and the names and addresses it answers for."""

    name: str
    common_name: str
    organisation: str = ""
    authority: str = "ca"
    names: tuple[str, ...] = ()

    def subject(self) -> str:
        """The subject in openssl's notation."""
        return (f"/O={self.organisation}" if self.organisation else "") + f"/CN={self.common_name}"

    def extensions(self) -> str:
        """The x509v3 extensions as an openssl extension file."""
        lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
        if self.names:
            lines.append("subjectAltName=" + ",".join(self.names))
        return "\n".join(lines) + "\n"


CERTIFICATES_WANTED = (
    Certificate(
        "apiserver",
        "kube-apiserver",
        names=(
            "DNS:localhost",
            "DNS:kubernetes",
            "DNS:kubernetes.default",
            "DNS:kubernetes.default.svc",
            f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
            "IP:127.0.0.1",
            f"IP:{API_SERVICE_ADDRESS}",
            f"IP:{NODE_ADDRESS}",
        ),
    ),
    Certificate("kubelet-server", NODE_NAME, names=(f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}")),
    Certificate(
        "s3-server", "object-store", authority="s3-ca", names=("DNS:localhost", "IP:127.0.0.1", f"IP:{NODE_ADDRESS}")
    ),
    Certificate("admin", "cluster-admin", "system:masters"),
    Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Certificate("controller-manager", "system:kube-controller-manager"),
    Certificate("scheduler", "system:kube-scheduler"),
    Certificate("proxy", "system:kube-proxy"),
    Certificate("kubelet", f"system:node:{NODE_NAME}", "system:nodes"),
    Certificate("front-proxy-client", "front-proxy-client", authority="front-proxy-ca"),
)


def certificate(name: str) -> Path:
    """The file of a certificate made here."""
    return CERTIFICATES / f"{name}.crt"


def key(name: str) -> Path:
    """The file of its private key."""
    return CERTIFICATES / f"{name}.key"


def make() -> None:
    """Make all that are not there; a certificate is written last, so one that exists is whole."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    CERTIFICATES.chmod(0o700)
    for name in AUTHORITIES:
        if not certificate(name).exists():
            _authority(name)
    for wanted in CERTIFICATES_WANTED:
        if not certificate(wanted.name).exists():
            _leaf(wanted)
    if not (CERTIFICATES / "service-account.pub").exists():
        _openssl("genrsa", "-out", str(key("service-account")), "2048")
        _openssl(
            "rsa", "-in", str(key("service-account")), "-pubout", "-out", str(CERTIFICATES / "service-account.pub")
        )


def _authority(name: str) -> None:
    unfinished = CERTIFICATES / f"{name}.new"
    _new_key(name)
    extensions = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    options = ("-days", DAYS, "-subj", f"/CN=modelward-{name}", *extensions, "-out", str(unfinished))
    _openssl("req", "-x509", "-new", "-key", str(key(name)), *options)
    unfinished.rename(certificate(name))


def _leaf(wanted: Certificate) -> None:
    unfinished, request, extensions = (CERTIFICATES / f"{wanted.name}.{end}" for end in ("new", "csr", "ext"))
    _new_key(wanted.name)
    extensions.write_text(wanted.extensions())
    _openssl("req", "-new", "-key", str(key(wanted.name)), "-subj", wanted.subject(), "-out", str(request))
    signer = ("-CA", str(certificate(wanted.authority)), "-CAkey", str(key(wanted.authority)), "-CAcreateserial")
    _openssl(
        "x509",
        "-req",
        "-in",
        str(request),
        *signer,
        "-days",
        DAYS,
        "-extfile",
        str(extensions),
        "-out",
        str(unfinished),
    )
    request.unlink()
    extensions.unlink()
    unfinished.rename(certificate(wanted.name))


def _new_key(name: str) -> None:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key(name)))


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)

"""The arguments of the commands about sealed models. Called by `cli.py`; imports nothing heavy.

modelward keygen   make a key file
modelward seal     encrypt and sign a model
modelward inspect  show what a sealed model says about itself
modelward verify   is it whole, and signed by someone trusted? Exit code 0 yes, 1 no, 2 wrong usage
modelward rewrap   wrap its data key for another key-encryption key
"""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  argparse gives it no public name

_ENDPOINT: Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")


def add(commands: "Commands") -> None:
    """Add all of them."""
    _add_keygen(commands)
    _add_seal(commands)
    _add_inspect(commands)
    _add_verify(commands)
    _add_rewrap(commands)


def _add_keygen(commands: "Commands") -> None:
    keygen = commands.add_parser(
        "keygen", help="make a key file, readable by you alone; an existing one is never overwritten"
    )
    keygen.add_argument(
        "kind",
        choices=("kek", "signing", "audit"),
        help="kek: wraps data keys. signing: signs models (P-256). audit: signs audit checkpoints (Ed25519)",
    )
    keygen.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="signing and audit also write FILE with .pub.pem in place of .pem",
    )
    _add_json(keygen)


def _add_seal(commands: "Commands") -> None:
    seal = commands.add_parser("seal", help="encrypt and sign a model, so that it serves only where its key is")
    seal.add_argument("source", type=Path, metavar="SRC", help="a .onnx file, or a folder with model.onnx")
    seal.add_argument(
        "destination",
        metavar="DST",
        help="the sealed folder to make, or s3://BUCKET/PREFIX/, gs://BUCKET/PREFIX/, oci://REGISTRY/REPOSITORY:TAG",
    )
    seal.add_argument("--tenant", required=True, metavar="T", help="the namespace, or its label modelward.dev/tenant")
    seal.add_argument(
        "--name", required=True, metavar="N", help="the model's name, as spec.model.name or metadata.name"
    )
    seal.add_argument("--version", required=True, dest="model_version", metavar="V", help="the model's version")
    seal.add_argument(
        "--kek", required=True, metavar="FILE", help="the key-encryption key; also vault:URL or awskms:ARN"
    )
    seal.add_argument(
        "--kek-id",
        default="",
        metavar="ID",
        help="the id of a key file: the key's name in the Secret. A key of a service has its own: MOUNT/KEY, the ARN",
    )
    seal.add_argument(
        "--s3-endpoint", type=_endpoint, metavar="URL", help="the store of an s3:// DST, where it is not AWS"
    )
    seal.add_argument(
        "--ca-bundle", metavar="FILE", help="CAs to trust beside the system's, for an s3:// or oci:// DST"
    )
    seal.add_argument("--plain-http", action="store_true", help="reach the registry of an oci:// DST without TLS")
    _add_sign_key(seal)
    _add_json(seal)


def _endpoint(text: str) -> str:
    if not _ENDPOINT.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!a} is no endpoint: http:// or https://, a host and perhaps a port, and nothing else"
        )
    return text


def _add_inspect(commands: "Commands") -> None:
    inspect = commands.add_parser("inspect", help="show what a sealed model says about itself, without verifying it")
    inspect.add_argument("folder", type=Path, metavar="DIR", help="the sealed folder")
    _add_json(inspect)


def _add_verify(commands: "Commands") -> None:
    verify = commands.add_parser(
        "verify",
        help="check that a sealed or signed folder is whole, and signed by someone trusted; needs no key",
        description="Check that a sealed or signed folder is whole, and signed by someone trusted; it needs no key.\n"
        "Exit code 0: it is; 1: it is not; 2: it could not be tried.",
    )
    verify.add_argument("folder", type=Path, metavar="DIR", help="the sealed folder, or a plain one with model.sig")
    _add_trust(
        verify,
        "a trusted signer's public key, or the certificate of a signer or a CA, or a directory of them; may be repeated",
        is_required=True,
    )
    verify.add_argument("--tenant", metavar="T", help="it must be sealed for this tenant")
    verify.add_argument("--name", metavar="N", help="it must be this model")
    verify.add_argument("--model-version", metavar="V", help="it must be this version")
    _add_json(verify)


def _add_rewrap(commands: "Commands") -> None:
    rewrap = commands.add_parser(
        "rewrap",
        help="wrap a sealed model's data key for another key-encryption key; only keys.json and keys.sig change",
    )
    rewrap.add_argument("folder", type=Path, metavar="DIR", help="the sealed folder")
    rewrap.add_argument(
        "--kek",
        required=True,
        metavar="FILE",
        help="a key-encryption key that opens it now; also vault:URL or awskms:ARN",
    )
    rewrap.add_argument("--new-kek", required=True, metavar="FILE", help="the one that shall open it, likewise")
    rewrap.add_argument("--new-kek-id", default="", metavar="ID", help="the id of a new key file")
    rewrap.add_argument(
        "--keep-old",
        action="store_true",
        help="the keys that open it now go on to; without it the new one is the only one",
    )
    _add_trust(rewrap, "the model's signer, where that is not --sign-key; may be repeated", is_required=False)
    _add_sign_key(rewrap)
    _add_json(rewrap)


def _add_trust(command: argparse.ArgumentParser, told: str, *, is_required: bool) -> None:
    command.add_argument(
        "--trust", type=Path, action="append", default=[], required=is_required, metavar="PUB.pem", help=told
    )


def _add_sign_key(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--sign-key", type=Path, required=True, metavar="KEY.pem", help="the private key to sign with (P-256)"
    )
    command.add_argument(
        "--certificate",
        type=Path,
        metavar="LEAF.pem",
        help="its certificate for code signing, so that those who trust the CA trust the signature",
    )
    command.add_argument(
        "--chain",
        type=Path,
        action="append",
        default=[],
        metavar="CAS.pem",
        help="the CAs between that certificate and the one that others trust, in this order; may be repeated",
    )


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="answer with one JSON object")

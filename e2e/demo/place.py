"""Puts the demo's things where they belong: models into the object store, and the objects that are applied around them.

Used by the demo and by the benchmarks. The object store's address and credentials come from the environment that
`e2e/cluster/shell` sets (with CLUSTER=current: from the user's own).
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import yaml

from e2e.cluster.progress import Screen
from e2e.demo.kube import Json, kubectl
from e2e.models.builder import BUILD

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "crds" / "examples"
PUT = REPOSITORY / "e2e" / "cluster" / "put"

# What is uploaded; breast-cancer's second version is for the visitor to roll out.
VERSIONS = ("breast-cancer/1", "breast-cancer/2", "digits/1", "minilm/1")


def put_models(screen: Screen) -> None:
    for version in VERSIONS:
        size = sum(file.stat().st_size for file in (BUILD / version).iterdir())
        with screen.step(f"put s3://models/{version}/, {size / 1e6:.2f} MB"):
            _put(BUILD / version, f"s3://models/{version}/")


def _put(folder: Path, uri: str) -> None:
    done = subprocess.run([PUT, folder, uri], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"cannot upload to {uri}: {(done.stderr or done.stdout).strip()}")


def example(name: str) -> str:
    """The manifest as it stands in crds/examples."""
    return (EXAMPLES / f"demo-{name}.yaml").read_text()


def manifest(name: str) -> Json:
    """The example, with the address of the object store that is in use."""
    document: Json = yaml.safe_load(example(name))
    document["spec"]["model"]["storage"]["endpoint"] = os.environ["S3_ENDPOINT"]
    return document


def namespace(name: str) -> Json:
    """One that admits pods of the strictest Pod Security level only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def secret(in_namespace: str) -> Json:
    """The Secret s3-read, which the examples name."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    metadata = {"name": "s3-read", "namespace": in_namespace}
    data = {key: os.environ[key] for key in keys}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


VISITOR = "visitor"
AUDIENCE = "modelward.dev"


def visitor(in_namespace: str) -> Json:
    """The ServiceAccount that the examples allow to ask."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": VISITOR, "namespace": in_namespace}}


@cache
def token(in_namespace: str) -> str:
    """A token of the visitor for our audience, good for an hour."""
    return kubectl("create", "token", VISITOR, "-n", in_namespace, "--audience", AUDIENCE).strip()

"""Where the cases run: what `e2e/cluster/shell` says about the cluster, and the way inside its network.

Service addresses answer only inside the embedded cluster's network namespace, so `conftest.py` starts pytest again in
there. Every address comes from the environment: nothing here knows the embedded cluster's own constants.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from e2e.models.builder import ensure_models

REPOSITORY = Path(__file__).resolve().parents[2]
SHELL = REPOSITORY / "e2e" / "cluster" / "shell"
PUT = REPOSITORY / "e2e" / "cluster" / "put"
_INSIDE = "MODELWARD_E2E_INSIDE"


@dataclass(frozen=True)
class Store:
    """The cluster's object store as pods reach it, with the credentials of one who may read everything."""

    endpoint: str
    https_endpoint: str
    ca_file: Path
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)


def inside() -> bool:
    """Say whether this process was started by `enter`."""
    return _INSIDE in os.environ


def enter() -> None:
    """Replace this process by itself inside the cluster's network."""
    if not SHELL.exists():
        raise SystemExit(f"{SHELL} does not exist: run `make up` first")
    ensure_models()  # out here: in there is no way to the package index
    os.environ[_INSIDE] = "1"
    os.execv(SHELL, [str(SHELL), sys.executable, "-m", "pytest", *sys.argv[1:]])


def runtime_image() -> str:
    """Return the serving image, which also serves as a client pod: it has Python."""
    return os.environ.get("MODELWARD_RUNTIME_IMAGE") or os.environ["MODELWARD_BASE_IMAGE"]


def registry() -> str:
    """Return the registry that the node pulls from: its host and port."""
    return os.environ["MODELWARD_REGISTRY"]


def store() -> Store:
    """Read the object store's coordinates."""
    return Store(
        endpoint=os.environ["S3_ENDPOINT"],
        https_endpoint=os.environ["S3_HTTPS_ENDPOINT"],
        ca_file=Path(os.environ["S3_CA_FILE"]),
        bucket="models",
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
    )

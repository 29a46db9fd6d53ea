"""Credentials for a registry, from a Docker configuration: a `kubernetes.io/dockerconfigjson` Secret, or a person's own config.json.

`oci.py` asks. What is found here goes into request headers and nowhere else: no message holds any of it. Credential helpers are
programs, which no serving pod has; a configuration that leaves it to one says so in `Credentials.lacking`.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import OciLocation, fetch_error

_MOST_BYTES: Final = 1 << 20
_HUB: Final = {"docker.io": "index.docker.io", "registry-1.docker.io": "index.docker.io"}


class _Auth(msgspec.Struct, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _Config(msgspec.Struct, frozen=True, rename="camel"):
    auths: dict[str, _Auth] = {}
    creds_store: str = ""
    cred_helpers: dict[str, str] = {}


@dataclass(frozen=True, repr=False)
class Credentials:
    """A user and a password; both empty: none, and `lacking` says why."""

    user: str = ""
    password: str = ""
    lacking: str = "no credentials were given"

    @property
    def basic(self) -> str:
        """As basic authentication sends them."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __bool__(self) -> bool:
        return bool(self.user)


def users_file() -> Path | None:
    """Where `docker login` has put a person's credentials; None when there are none."""
    home = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")  # noqa: PTH111  Path raises without a home
    file = Path(home) / "config.json"
    return file if file.is_file() else None


def read(file: Path | None, location: OciLocation) -> Credentials:
    """What the file holds for this repository; LoadError AccessDenied when the file cannot be used at all."""
    if file is None:
        return Credentials()
    try:
        with file.open("rb") as source:
            config = msgspec.json.decode(source.read(_MOST_BYTES), type=_Config)
    except OSError as error:
        raise _denied(file, f"cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _denied(file, "is no Docker configuration: it must be JSON with auths") from None
    found = _find(config.auths, location)
    helper = config.cred_helpers.get(location.registry) or config.creds_store
    if found is None or found == _Auth():
        left = f"leaves it to docker-credential-{helper}, and helpers are not supported: write auth into auths"
        return Credentials(lacking=f"{file} " + (left if helper else f"holds none for {location.registry}"))
    return _decode(found, file, location.registry)


def _find(auths: Mapping[str, _Auth], location: OciLocation) -> _Auth | None:
    """The entry whose host, and path where it has one, the repository lies below; the longest counts."""
    host = _HUB.get(location.registry, location.registry)
    best: tuple[int, _Auth] | None = None
    for key, auth in auths.items():
        name, _, path = key.rpartition("://")[2].partition("/")
        path = "" if path.strip("/") in {"v1", "v2"} else path.strip("/")
        below = f"{location.repository}/".startswith(f"{path}/") if path else True
        if _HUB.get(name, name) == host and below and (best is None or len(path) > best[0]):
            best = len(path), auth
    return best[1] if best else None


def _decode(found: _Auth, file: Path, registry: str) -> Credentials:
    user, password = found.username, found.password
    if found.auth:
        try:
            user, _, password = base64.b64decode(found.auth, validate=True).decode().partition(":")
        except ValueError:  # no base64, letters beyond ASCII in it, or no UTF-8 behind it
            raise _denied(file, f"holds an auth for {registry} that is not USER:PASSWORD in base64") from None
    if not user:
        return Credentials(
            lacking=f"{file} holds an identity token for {registry}, which is not supported: write auth into auths"
        )
    return Credentials(user, password.rstrip("\0"), "")


def _denied(file: Path, why: str) -> LoadError:
    return fetch_error(LoadReason.ACCESS_DENIED, f"the Docker configuration {file} {why}")

"""Google Cloud Storage, read and written as `s3.py` does an S3 store, with Google's ways to say who we are.

Called by `fetch.py`, and to write by `sealing.py`. In this order: the key of a service account, which signs its own tokens; the metadata
server, where there is one that may be reached (GKE's workload identity, or the node's account); nobody, for buckets that are public.
It must never put a key or a token into a message.
"""

import http.client
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from obstore.exceptions import BaseError
from obstore.store import GCSStore

from modelward_runtime.config import Gs
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import GsLocation, fetch_error
from modelward_runtime.store.s3 import ONCE, Bucket, client_options, retries

if TYPE_CHECKING:
    from obstore.store import GCSConfig

_MOST_BYTES: Final = 64 << 10
_METADATA: Final = "169.254.169.254"
_WHO: Final = "/computeMetadata/v1/instance/service-accounts/default/email"
_PATIENCE: Final = 0.5  # seconds: it is on the node, or it is not there


class _Account(msgspec.Struct, frozen=True):
    """What of a key file must be there; the client reads the same file."""

    type: str = ""
    client_email: str = ""
    private_key: str = ""
    private_key_id: str = ""


class GoogleBucket(Bucket):
    """One bucket of Google Cloud Storage, or of what speaks like it."""

    def __init__(self, location: GsLocation, settings: Gs, ca_bundle_file: str | None, stall: float) -> None:
        self.location = location
        self._endpoint = settings.endpoint or "Google Cloud Storage"
        self._base = f"{(settings.endpoint or 'https://storage.googleapis.com').rstrip('/')}/{location.bucket}"
        self._signs = False  # without a key that would ask Google
        self._ca_bundle, self._stall = Path(ca_bundle_file) if ca_bundle_file else None, stall
        self._opened = {}
        try:
            options = client_options(settings.endpoint, ca_bundle_file, stall)
            connect = partial(GCSStore, location.bucket, config=_config(settings), client_options=options)
            self._store, self._written = connect(retry_config=ONCE), connect(retry_config=retries(stall))
        except (BaseError, ValueError) as error:
            if settings.service_account_file and not ca_bundle_file:
                raise _unusable(
                    Path(settings.service_account_file), "holds a private key that cannot be used"
                ) from None
            raise self._explain(error, "opening the store") from None


def _config(settings: Gs) -> "GCSConfig":
    config: GCSConfig = {"base_url": settings.endpoint} if settings.endpoint else {}
    if settings.service_account_file:
        _check(Path(settings.service_account_file))
        return {**config, "service_account": settings.service_account_file}
    return config if _has_metadata_server() else {**config, "skip_signature": True}


def _check(file: Path) -> None:
    """LoadError AccessDenied unless it is the key of a service account: the client's own words would quote it."""
    try:
        with file.open("rb") as source:
            account = msgspec.json.decode(source.read(_MOST_BYTES), type=_Account)
    except OSError as error:
        raise _unusable(file, f"cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _unusable(file, "is no JSON of a service account's key") from None
    if account.type != "service_account":
        raise _unusable(file, f"is of the type {account.type[:40]!r}, and only the key of a service_account is taken")
    if "PRIVATE KEY" not in account.private_key or not account.client_email or not account.private_key_id:
        raise _unusable(file, "lacks client_email, private_key or private_key_id")


def _has_metadata_server() -> bool:
    """Is there one that gives us an account? Other clouds answer at the same address, but not by this name."""
    connection = http.client.HTTPConnection(os.environ.get("GCE_METADATA_HOST", _METADATA), timeout=_PATIENCE)
    try:
        connection.request("GET", _WHO, headers={"Metadata-Flavor": "Google"})
        answer = connection.getresponse()
        return answer.status == 200 and answer.headers.get("Metadata-Flavor") == "Google"
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _unusable(file: Path, why: str) -> LoadError:
    return fetch_error(LoadReason.ACCESS_DENIED, f"the Google credentials {file} {why}")

"""Speaks to an S3 store: opens it, lists a prefix, streams objects or parts of them, and says in plain words what went wrong.

Called by `fetch.py`, and to write by `sealed/targets.py`, on a thread of its own: every call blocks and lets go of the GIL.
`gs.py` is the same with another client. Credentials are the standard AWS environment (keys, web identity, container or instance role);
a custom endpoint without any is read anonymously. It must never put a credential, a signature or a request
header into a message: only the store's error code and text get out.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import S3Store

from modelward_runtime.config import S3
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import S3Location, fetch_error
from modelward_runtime.store.remote import MOST_FILES, PIECE, ChangedError, Reading, RemoteFile, is_strong, read_bundle

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, WritableFile
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Config

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class Bucket:
    """One bucket of one store."""

    def __init__(self, location: S3Location, settings: S3, ca_bundle_file: str | None, stall: float) -> None:
        self.location = location
        self._endpoint = settings.endpoint or "AWS"
        self._opened: dict[str, GetResult] = {}  # an object that was opened to learn its size
        _check_credentials()
        try:
            self._store: S3Store | GCSStore = S3Store(
                location.bucket,
                config=_config(settings),
                client_options=client_options(settings.endpoint, ca_bundle_file, stall),
                retry_config=retries(stall),
            )
        except (BaseError, ValueError) as error:
            raise self._explain(error, "opening the store") from error

    def files(self) -> list[RemoteFile]:
        """The object itself, or everything below the prefix; LoadError ModelNotFound when there is nothing."""
        if self.location.single:
            return [self._single(self.location.key)]
        try:
            files = list(self._below())
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, f"listing {self.location.uri}") from error
        if not files:
            raise fetch_error(LoadReason.MODEL_NOT_FOUND, f"{self.location.uri}: there is nothing under this prefix")
        return files

    def read(self, file: RemoteFile) -> "Reading":
        """Open one object for streaming."""
        result = self._opened.pop(file.key, None) or self._open(file.key)
        return Reading(size=result.meta["size"], pieces=self._pieces(result, file.key))

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """Stream a part of an object, as long as it is still the one that was listed."""
        self._opened.pop(file.key, None)
        try:
            options: GetOptions = {"range": (start, stop), "if_match": file.version}
            result = obstore.get(self._store, file.key, options=options)
        except PreconditionError as error:
            raise ChangedError(f"{self._reading(file.key)}: it was changed meanwhile") from error
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(file.key)) from error
        yield from self._pieces(result, file.key)

    def is_taken(self) -> bool:
        """Is there anything below the prefix?"""
        try:
            return any(True for _ in self._below())
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, f"listing {self.location.uri}") from error

    @contextmanager
    def writing(self, name: str, part: int, uploads: int) -> Iterator["WritableFile"]:
        """Upload an object below the prefix in parts; it exists once the context has ended without an error."""
        key = f"{self.location.key}/{name}".lstrip("/")
        try:
            with obstore.open_writer(self._store, key, buffer_size=part, max_concurrency=uploads) as file:
                yield file
        except BaseError as error:
            raise self._explain(error, f"writing {self.location.scheme}://{self.location.bucket}/{key}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects below the prefix, as far as that is possible: called when something has failed already."""
        for name in names:
            with suppress(BaseError, OSError, ValueError):
                obstore.delete(self._store, f"{self.location.key}/{name}".lstrip("/"))

    def _below(self) -> Iterator[RemoteFile]:
        prefix = self.location.key
        count = 0
        for page in obstore.list(self._store, prefix or None, chunk_size=1000):
            for entry in page:
                key, size = entry["path"], entry["size"]
                name = key[len(prefix) :].lstrip("/")
                if not name or (size == 0 and key.endswith("/")):
                    continue  # the marker that some tools make for a folder
                count += 1
                if count > MOST_FILES:
                    raise fetch_error(
                        LoadReason.NO_MODEL_FILE,
                        f"{self.location.uri} holds more than {MOST_FILES} objects: let the URI name the model's own folder",
                    )
                version = entry["e_tag"] or ""
                yield RemoteFile(key, name, size, version=version, divisible=is_strong(version))

    def _single(self, key: str) -> RemoteFile:
        """An object that nothing has listed: opening it tells its size, and the same answer may serve to read it."""
        result = self._opened[key] = self._open(key)
        size, version = result.meta["size"], result.meta["e_tag"] or ""
        return RemoteFile(key, key.rpartition("/")[2], size, version=version, divisible=is_strong(version))

    def _open(self, key: str) -> "GetResult":
        try:
            return obstore.get(self._store, key)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(key)) from error

    def _pieces(self, result: "GetResult", key: str) -> Iterator[bytes]:
        try:
            yield from result.stream(min_chunk_size=PIECE)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(key)) from error

    def _reading(self, key: str) -> str:
        return f"reading {self.location.scheme}://{self.location.bucket}/{key}"

    def _explain(self, error: Exception, doing: str) -> LoadError:
        return explain(error, f"{doing} at {self._endpoint}", self.location)


def client_options(endpoint: str | None, ca_bundle_file: str | None, stall: float) -> "ClientConfig":
    """How long the client waits, whom it trusts, and that http:// must have been written to be spoken."""
    options: ClientConfig = {
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=stall / 3),
        "timeout": timedelta(days=7),  # a large model takes as long as it takes; `read_timeout` finds the stall
    }
    if ca_bundle_file:
        options["root_certificate"] = read_bundle(Path(ca_bundle_file))
    return options


def retries(stall: float) -> "RetryConfig":
    """With a growing, jittered pause. A silent connection is renewed twice before the stall is called one: retries last longer."""
    return {"max_retries": 4, "retry_timeout": timedelta(seconds=3 * stall)}


def _check_credentials() -> None:
    """A line end in a secret, the gift of `echo`, would show up as a wrong signature and cost an hour."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        content = os.environ.get(name, "")
        if content != content.strip():
            raise fetch_error(
                LoadReason.ACCESS_DENIED, f"{name} begins or ends with white space: make the secret anew without it"
            )


def place(endpoint: str | None, region: str | None) -> "S3Config":
    """Where a store is: region, endpoint, addressing by path on an endpoint of one's own. The logs' sinks ask for it too."""
    environ = os.environ
    config: S3Config = {
        "region": region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        "virtual_hosted_style_request": not endpoint,
    }
    return {**config, "endpoint": endpoint} if endpoint else config


def _config(settings: S3) -> "S3Config":
    """What the environment does not say; an endpoint of one's own without credentials is read anonymously."""
    config = place(settings.endpoint, settings.region)
    if settings.endpoint:
        config["skip_signature"] = not any(os.environ.get(name) for name in _CREDENTIALS)
    return config


def explain(error: Exception, doing: str, location: S3Location) -> LoadError:
    """The store's error as a reason and one sentence; transient when the same request may succeed later."""
    text = str(error)
    code, said = _said(text)
    told = f"{doing}: {said}"
    if code == "NoSuchBucket":
        return fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{doing}: the bucket {location.bucket!r} does not exist")
    if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
        return fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{told}; is the region right?")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or code in _DENIED or _REFUSED.search(text):
        return fetch_error(LoadReason.ACCESS_DENIED, told)
    if isinstance(error, FileNotFoundError):
        return fetch_error(LoadReason.MODEL_NOT_FOUND, f"{doing}: there is no such object")
    if re.search(r"invalid peer certificate|InvalidCertificate|CertificateRequired|BadSignature|InvalidCACert", text):
        return fetch_error(
            LoadReason.CERTIFICATE_INVALID, f"{told}; a private CA belongs into model.storage.caBundleRef"
        )
    return fetch_error(LoadReason.SOURCE_UNREACHABLE, told, permanent=False)


_DENIED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",  # versitygw, for an unknown access key
    }
)

# Of a listing the client has one kind of error for all that the store answers; its debug text has the status.
_REFUSED = re.compile(r"\bstatus: 40[13]\b")

# The innermost cause that the client's debug text carries, the most telling first.
_CAUSES = (
    r"invalid peer certificate: ([^\"\n]{1,200})",
    r"(InvalidCertificate\([^)]*\))",
    r"(received corrupt message of type InvalidContentType)",  # plain HTTP behind an https:// endpoint
    r"failed to lookup address information: ([^\"\n]{1,200})",
    r'message: "([^"\n]{1,200})"',
    r"(TimedOut|timed out|connection closed before message completed|end of file before message length reached)",
    r"status: (\d{3}[^,\n]{0,40})",
)


def _said(text: str) -> tuple[str, str]:
    """The store's error code, if it sent one, and a sentence without addresses, headers or signatures."""
    code = re.search(r"<Code>([^<]{1,100})</Code>", text)
    message = re.search(r"<Message>([^<]{1,300})</Message>", text)
    if code:
        return code[1], f"{code[1]}: {message[1]}" if message else code[1]
    causes = [found[1] for pattern in _CAUSES if (found := re.search(pattern, text))]
    first = text.partition("\n\nDebug source")[0].partition("\n")[0]
    summary = re.sub(r"https?://\S+", "the store", first)[-200:]
    return "", causes[0] if causes else summary

"""Speaks to an S3 store: opens it, lists a prefix, streams objects or parts of them, and says in plain words what went wrong.

Called by `fetch.py`, and to write by `sealed/targets.py`, on a thread of its own: every call blocks and lets go of the GIL.
`gs.py` is the same with another client. Credentials are the standard AWS environment (keys, web identity, container or instance role);
a custom endpoint without any is read anonymously. It must never put a credential, a signature or a request
header into a message: only the store's error code and text get out.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from modelward_runtime.config import S3
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import S3Location, fetch_error
from modelward_runtime.store.remote import (
    MOST_FILES,
    PIECE,
    ChangedError,
    Reading,
    RemoteFile,
    is_page,
    is_strong,
    read_bundle,
)
from modelward_runtime.store.resuming import persist, resumed
from modelward_runtime.store.s3errors import BUSY, ILLEGIBLE, PAGE, explain, page_error, said_by_a_page, with_rest

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, WritableFile
    from obstore.store import ClientConfig, GCSStore, RetryConfig, S3Config

    from modelward_runtime.store.secondlook import Seen

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


class Bucket:
    """One bucket of one store. What is read `resuming.py` asks for again, by `Retry-After`; what is written, the client itself."""

    def __init__(self, location: S3Location, settings: S3, ca_bundle_file: str | None, stall: float) -> None:
        self.location = location
        self._endpoint = settings.endpoint or "AWS"
        self._base = f"{(settings.endpoint or 'https://s3.amazonaws.com').rstrip('/')}/{location.bucket}"
        self._ca_bundle, self._stall = Path(ca_bundle_file) if ca_bundle_file else None, stall
        self._opened: dict[str, GetResult] = {}  # an object that was opened to learn its size
        _check_credentials()
        config = _config(settings)
        self._signs = not config.get("skip_signature")
        try:
            options = client_options(settings.endpoint, ca_bundle_file, stall)
            connect = partial(S3Store, location.bucket, config=config, client_options=options)
            self._store: S3Store | GCSStore = connect(retry_config=ONCE)
            self._written: S3Store | GCSStore = connect(retry_config=retries(stall))
        except (BaseError, ValueError) as error:
            raise self._explain(error, "opening the store") from error

    def files(self) -> list[RemoteFile]:
        """The object itself, or everything below the prefix; LoadError ModelNotFound when there is nothing."""
        if self.location.single:
            return [self._single(self.location.key)]
        if not (files := persist(self._listed)):
            error = fetch_error(LoadReason.MODEL_NOT_FOUND, f"{self.location.uri}: there is nothing under this prefix")
            seen = self._look()
            if seen.page and not seen.missing:
                raise page_error(f"listing {self.location.uri} at {self._endpoint}")
            raise said_by_a_page(error) if seen.page else error
        return files

    def read(self, file: RemoteFile) -> "Reading":
        """Open one object for streaming."""
        result = self._opened.pop(file.key, None) or persist(partial(self._open, file.key))
        size, version = result.meta["size"], result.meta["e_tag"] or ""
        if not is_strong(version):
            return Reading(size, self._pieces(result, file.key))
        answers = [result]

        def attempt(at: int) -> Iterator[bytes]:
            return self._pieces(answers.pop(), file.key) if answers else self._range(file.key, version, at, size)

        return Reading(size, resumed(attempt, 0, size))

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        """Stream a part of an object, as long as it is still the one that was listed."""
        self._opened.pop(file.key, None)
        return resumed(lambda at: self._range(file.key, file.version, at, stop), start, stop)

    def is_taken(self) -> bool:
        """Is there anything below the prefix?"""
        return bool(persist(partial(self._listed, most=1)))

    @contextmanager
    def writing(self, name: str, part: int, uploads: int) -> Iterator["WritableFile"]:
        """Upload an object below the prefix in parts; it exists once the context has ended without an error."""
        key = f"{self.location.key}/{name}".lstrip("/")
        try:
            with obstore.open_writer(self._written, key, buffer_size=part, max_concurrency=uploads) as file:
                yield file
        except BaseError as error:
            raise self._explain(error, f"writing {self.location.scheme}://{self.location.bucket}/{key}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects below the prefix, as far as that is possible: called when something has failed already."""
        for name in names:
            with suppress(BaseError, OSError, ValueError):
                obstore.delete(self._written, f"{self.location.key}/{name}".lstrip("/"))

    def _listed(self, most: int | None = None) -> list[RemoteFile]:
        try:
            return list(islice(self._below(), most))
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, f"listing {self.location.uri}") from error

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
        result = self._opened[key] = persist(partial(self._open, key))
        size, version = result.meta["size"], result.meta["e_tag"] or ""
        if not version and is_page(str(result.attributes.get("Content-Type", ""))):
            raise page_error(f"{self._reading(key)} at {self._endpoint}")
        return RemoteFile(key, key.rpartition("/")[2], size, version=version, divisible=is_strong(version))

    def _open(self, key: str) -> "GetResult":
        try:
            return obstore.get(self._store, key)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(key)) from error

    def _range(self, key: str, version: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes of an object from `start` to `stop`, as long as it is still this one."""
        try:
            options: GetOptions = {"range": (start, stop), "if_match": version}
            result = obstore.get(self._store, key, options=options)
        except PreconditionError as error:
            raise ChangedError(f"{self._reading(key)}: it was changed meanwhile") from error
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(key)) from error
        yield from self._pieces(result, key)

    def _pieces(self, result: "GetResult", key: str) -> Iterator[bytes]:
        try:
            yield from result.stream(min_chunk_size=PIECE)
        except (BaseError, OSError, ValueError) as error:
            raise self._explain(error, self._reading(key)) from error

    def _reading(self, key: str) -> str:
        return f"reading {self.location.scheme}://{self.location.bucket}/{key}"

    def _explain(self, error: Exception, doing: str) -> LoadError:
        """What went wrong; where the store has answered, with what the client does not show of the answer."""
        doing, text = f"{doing} at {self._endpoint}", str(error)
        told = explain(error, doing, self.location)
        if BUSY.search(text):
            return told if told.permanent else with_rest(told, self._look().rest)
        if told.reason is LoadReason.MODEL_NOT_FOUND:
            return said_by_a_page(told) if PAGE.search(text) else told
        if told.permanent:
            return told
        return page_error(doing) if PAGE.search(text) or (ILLEGIBLE.search(text) and self._look().page) else told

    def _look(self) -> "Seen":
        """At the answer that comes where the model should be."""
        from modelward_runtime.store.secondlook import look  # noqa: PLC0415  start-up: rarely needed

        url = f"{self._base}/{quote(self.location.key)}"
        if self._signs:
            with suppress(BaseError, OSError, ValueError):
                url = obstore.sign(self._store, "HEAD", self.location.key, _MOMENT)
        return look(url, self._ca_bundle, self._stall)


ONCE: "Final[RetryConfig]" = {"max_retries": 0}  # what is read is asked for again where `Retry-After` is heard
_MOMENT: Final = timedelta(seconds=15)  # for which the URL of a second look is good


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

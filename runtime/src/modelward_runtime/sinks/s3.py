"""Objects below a prefix: `POD/BOOT/HOUR/NUMBER.jsonl`, one for each batch, written whole or not at all.

A batch that failed is put again under the name of its first try, so that an answer that got lost makes no second object. Nothing is
overwritten: NUMBER and HOUR, the hours of the writer's life, which keep every listing short, go on over all sinks of a writer, and a PUT
demands that the name is free, where the store can do that (If-None-Match). How old an object is, the store's clock says, not ours.
Errors carry no credential.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError
from obstore.store import S3Store

from modelward_runtime.sinks.config import S3
from modelward_runtime.sinks.sink import SUFFIX, Piece, SinkFailed, Writer
from modelward_runtime.store.locate import parse_s3
from modelward_runtime.store.s3 import place
from modelward_runtime.store.s3errors import explain

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Credential

_MOST_TAIL: Final = 1 << 20
_MOST_HEADS: Final = 64


class S3Sink:
    """The objects of one writer, and those of others beside them."""

    def __init__(
        self, settings: S3, writer: Writer, credentials: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._location = parse_s3(settings.uri)
        self._root = f"{self._location.key}/".lstrip("/")
        self._writer = writer
        self._clock = clock
        writer.numbering.begin(clock())
        self._pending = (b"", "")  # a batch that failed, and the name that it had
        self._mode: Literal["create", "overwrite"] = "create"
        self._seen: tuple[float, float] | None = None  # the store's time of our last object, and ours when we asked
        self._last_key = ""
        with self._explained("opening the store"):
            self._store = _open(self._location.bucket, settings, credentials)

    def write(self, lines: Sequence[bytes], *, fresh: bool) -> None:
        """One object."""
        content = b"".join(lines)
        if self._pending[0] != content:
            numbering = self._writer.numbering
            key = f"{self._folder()}{numbering.hour(self._clock()):06}/{numbering.next():09}{SUFFIX}"
            self._pending = content, key
        key = self._pending[1]
        with self._explained(f"writing {key}"):
            self._put(key, content)
        self._pending = b"", ""
        self._last_key = key

    def close(self) -> None:
        """There is nothing to close."""

    def heads(self) -> list[bytes]:
        """The last line of every other series, of the latest ones where there are many: each costs requests."""
        with self._explained("listing"):
            others = [folder for folder in self._series() if folder != self._folder()]
            latest = sorted(others, key=lambda folder: folder.rstrip("/").rpartition("/")[2])[-_MOST_HEADS:]
            newest = [self._newest(folder) for folder in latest]
            lines = [self._tail(entry["path"], entry["size"]) for entry in newest if entry]
            return [line for line in lines if line]

    def pieces(self, before: float) -> list[Piece]:
        """The oldest objects of every series of this model, as long as they were put before; never this writer's last one."""
        with self._explained("listing"):
            own = [folder for folder in self._series() if self._writer.is_own(folder.rstrip("/").rpartition("/")[2])]
            return [piece for folder in own for piece in self._ended(folder, before)]

    def tail(self, piece: Piece) -> bytes:
        """Its last line."""
        with self._explained(f"reading {piece.name}"):
            return self._tail(piece.name, obstore.head(self._store, piece.name)["size"])

    def remove(self, piece: Piece) -> None:
        """Delete the object; one that is gone already is no error to S3."""
        with self._explained(f"deleting {piece.name}"):
            obstore.delete(self._store, piece.name)

    def server_time(self) -> float | None:
        """What the store's clock says: when it took our last object, and the time since we learned that."""
        if self._last_key:
            with self._explained(f"reading {self._last_key}"):
                taken = obstore.head(self._store, self._last_key)["last_modified"].timestamp()
            if self._seen is None or taken > self._seen[0]:
                self._seen = (taken, self._clock())
        return None if self._seen is None else self._seen[0] + self._clock() - self._seen[1]

    def _put(self, key: str, content: bytes) -> None:
        """One object under a name that is free; if a try before took it and the answer got lost, it is done."""
        try:
            obstore.put(self._store, key, content, mode=self._mode, use_multipart=False)
        except AlreadyExistsError:
            if bytes(obstore.get(self._store, key).bytes()) != content:
                self._pending = b"", ""  # the next try takes the next name
                raise SinkFailed(f"{key} is there already, and another: nothing of a log is overwritten") from None
        except BaseError as error:
            if self._mode == "overwrite" or not _lacks_conditions(error):
                raise
            self._mode = "overwrite"
            self._put(key, content)

    def _folder(self) -> str:
        return f"{self._root}{self._writer.pod}/{self._writer.boot}/"

    def _series(self) -> list[str]:
        """The folder of every writer of our kind."""
        pods = [pod for pod in self._folders(self._root) if self._writer.is_kin(pod.rstrip("/"))]
        return [boot for pod in pods for boot in self._folders(pod)]

    def _folders(self, prefix: str) -> list[str]:
        listing = obstore.list_with_delimiter(self._store, prefix or None)
        return sorted(f"{name.rstrip('/')}/" for name in listing["common_prefixes"])

    def _newest(self, folder: str) -> "ObjectMeta | None":
        hours = self._folders(folder)
        objects = self._objects(hours[-1]) if hours else []
        return objects[-1] if objects else None

    def _objects(self, folder: str) -> "list[ObjectMeta]":
        pages = obstore.list(self._store, folder, chunk_size=1000)
        return sorted((entry for page in pages for entry in page), key=lambda entry: entry["path"])

    def _ended(self, folder: str, before: float) -> Iterator[Piece]:
        pod, boot = folder.rstrip("/").rsplit("/", 2)[-2:]
        for hour in self._folders(folder):
            for entry in self._objects(hour):
                put = entry["last_modified"].timestamp()
                if put >= before or entry["path"] == self._last_key:
                    return
                yield Piece(entry["path"], f"{pod}.{boot}", put, put)

    def _tail(self, key: str, size: int) -> bytes:
        start = max(0, size - _MOST_TAIL)
        content = bytes(obstore.get_range(self._store, key, start=start, end=size)) if size else b""
        return content.rpartition(b"\n")[0].rpartition(b"\n")[2]

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            told = explain(error, doing, self._location).message.partition("; a private CA")[
                0
            ]  # its advice is about models
            raise SinkFailed(" ".join(told.split())) from error


def _lacks_conditions(error: BaseError) -> bool:
    """The store does not know If-None-Match: S3's error NotImplemented, or a client that does not even ask."""
    return isinstance(error, NotSupportedError) or "NotImplemented" in str(error) or "501 Not Implemented" in str(error)


def _open(bucket: str, settings: S3, credentials: str) -> S3Store:
    own = _own_credentials(os.environ, credentials)
    bundle = _read(Path(settings.ca_bundle_file)) if settings.ca_bundle_file else None
    return S3Store(
        bucket,
        config=place(settings.endpoint, settings.region),
        client_options={
            "allow_http": bool(settings.endpoint and settings.endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(seconds=15),
            **({"root_certificate": bundle} if bundle else {}),
        },
        retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=15)},  # the outlet tries again
        credential_provider=(lambda: own) if own else None,
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SinkFailed(f"the CA bundle {file} cannot be read: {error.strerror}") from error


def _own_credentials(environ: Mapping[str, str], prefix: str) -> "S3Credential | None":
    """Those of the environment that carry our prefix, whole; None: the pod's identity, as the model's store uses it."""
    names = [f"{prefix}AWS_{name}" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
    identity, secret, token = (environ.get(name, "") for name in names)
    if not identity:
        return None
    for name in names:
        if environ.get(name, "") != environ.get(name, "").strip():
            raise SinkFailed(f"{name} begins or ends with white space: make the secret anew without it")
    return {"access_key_id": identity, "secret_access_key": secret, "token": token or None, "expires_at": None}

"""Reads a model from a web server: one .onnx file, or a folder that says itself what is in it.

Called by `fetch.py` on a thread of its own: every call blocks. HTTP lists no folders, and nothing is unpacked here, so a folder has a list:

    SHA256SUMS       as `sha256sum` prints it, a line a file: every file is held against it while it comes (`listing.py`)
    manifest.json    of a sealed model, which names its files; looked for when there is no SHA256SUMS

    first byte of each file ▶ size, ETag, are there ranges? ▶ parts, under If-Range ▶ `lanes.py` writes, hashes and compares

Credentials are sent to the URI's own scheme, host and port, and nowhere that a redirect leads to.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import quote

from msgspec.structs import replace

from modelward_runtime.config import Https
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import listing
from modelward_runtime.store.locate import HttpsLocation, fetch_error
from modelward_runtime.store.ranges import once, stream
from modelward_runtime.store.remote import LANES, ChangedError, Reading, RemoteFile, is_strong
from modelward_runtime.store.transport import Response, Transport, announced, is_web_page, rest

SUMS: Final = "SHA256SUMS"
_MANIFEST: Final = "manifest.json"
_MOST_BYTES: Final = 8 << 20  # of a list
_MOST_SECRET: Final = 64 << 10
_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_NONE_OF_NONE: Final = "bytes */0"  # what a server says of the first byte of an empty file


class Site:
    """One file or one folder of one web server. `pinned`: its digest is declared, so that parts of different files would be found out."""

    def __init__(
        self, location: HttpsLocation, settings: Https, ca_bundle_file: str | None, stall: float, *, pinned: bool
    ) -> None:
        self.location = location
        self._pinned = pinned
        self._base = f"https://{location.host}"
        self._authorization = _authorization(settings.credentials_directory)
        self._transport = Transport(self._base, Path(ca_bundle_file) if ca_bundle_file else None, stall)

    def files(self) -> list[RemoteFile]:
        """The file, or those of the folder's list, with their sizes."""
        path = self.location.path
        if self.location.single:
            return [self._describe(RemoteFile(path, path.rpartition("/")[2], 0))]
        files = self._listed()
        with ThreadPoolExecutor(LANES, "fetch") as pool:
            return list(pool.map(self._describe, files))

    def read(self, file: RemoteFile) -> Reading:
        """Stream a file from its start; of one that comes in no parts, a broken connection is the end."""
        if file.divisible:
            return Reading(file.size, self.part(file, 0, file.size))
        doing = self._reading(file)
        return Reading(file.size, once(lambda _: self._whole(file, doing), 0, file.size, doing, self._transport))

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[memoryview]:
        """Stream a part of a file, as long as it is the one that was described."""
        doing = self._reading(file)

        def ask(at: int) -> Response:
            if at == 0 and stop == file.size:
                return self._whole(file, doing)
            condition = {"If-Range": file.version} if is_strong(file.version) else {}
            response = self._get(file.key, doing, {"Range": f"bytes={at}-{stop - 1}", **condition}, (200, 206))
            found = _RANGE.fullmatch(response.headers.get("content-range", ""))
            if response.status != 206 or not found or [at, file.size] != [int(found[1]), int(found[3])]:
                response.close()
                raise ChangedError(f"{doing}: it was changed meanwhile, or the server gives no parts of it any more")
            return response

        return stream(ask, start, stop, doing, self._transport)

    def _whole(self, file: RemoteFile, doing: str) -> Response:
        response = self._get(file.key, doing, {}, (200,))
        if response.headers.get("content-length", "") != str(file.size):
            response.close()
            raise ChangedError(f"{doing}: it was changed meanwhile")
        return response

    def _describe(self, file: RemoteFile) -> RemoteFile:
        """The file with its size, and whether parts of it may be asked for: its first byte tells."""
        doing = self._reading(file)
        response = self._get(file.key, doing, {"Range": "bytes=0-0"}, (200, 206, 416))
        response.close() if response.status == 200 else response.drain_conn()
        told = response.headers
        if is_web_page(response) and not file.sha256:
            raise fetch_error(
                LoadReason.INVALID_MODEL,
                f"{doing} at {self._base}: a web page came in place of the file: is a login needed (model.storage.secretRef), or is "
                "this the page about the file and not the file?",
            )
        if told.get("content-encoding", "identity") != "identity":
            raise fetch_error(
                LoadReason.INVALID_MODEL,
                f"{doing} at {self._base}: the server sends it packed (Content-Encoding), which nobody asked for: have it sent as it is",
            )
        if response.status == 416 and told.get("content-range") == _NONE_OF_NONE:
            return replace(file, size=0)
        found = _RANGE.fullmatch(told.get("content-range", ""))
        if response.status == 206 and found:
            version = told.get("etag", "")
            divisible = is_strong(version) or self._pinned or bool(file.sha256)
            return replace(file, size=int(found[3]), version=version, divisible=divisible)
        length = announced(response)
        if response.status != 200 or length is None:
            raise fetch_error(
                LoadReason.INVALID_MODEL,
                f"{doing} at {self._base}: the server does not say how long it is (Content-Length), so that nobody could tell a whole "
                "file from a broken one",
            )
        return replace(file, size=length)

    def _listed(self) -> list[RemoteFile]:
        """The files of a folder, from its SHA256SUMS or from a sealed model's manifest."""
        folder = self.location.path
        for name, parse in ((SUMS, listing.of_sums), (_MANIFEST, listing.of_sealed)):
            where = f"{self.location.uri}{name}"
            try:
                response = self._get(folder + name, f"reading {where}", {}, (200,))
            except LoadError as error:
                if error.reason in {LoadReason.MODEL_NOT_FOUND, LoadReason.ACCESS_DENIED} and name == SUMS:
                    refused = error
                    continue
                if error.reason is LoadReason.MODEL_NOT_FOUND:
                    raise self._unlisted(refused) from None
                raise
            if is_web_page(response):
                response.close()
                raise fetch_error(
                    LoadReason.INVALID_MODEL,
                    f"reading {where}: a web page came in place of the list: is a login needed (model.storage.secretRef)?",
                )
            content = self._transport.read(response, f"reading {where}", _MOST_BYTES)
            return [RemoteFile(folder + quote(name), name, 0, sha256) for name, sha256 in parse(content, where)]
        raise AssertionError("one of the two was read or has raised")

    def _unlisted(self, refused: LoadError) -> LoadError:
        if refused.reason is LoadReason.ACCESS_DENIED:
            return refused
        return fetch_error(
            LoadReason.MODEL_NOT_FOUND,
            f"{self.location.uri}: there is neither a {SUMS} nor the {_MANIFEST} of a sealed model, and HTTP lists no folders: "
            f"write one with `find . -type f ! -name {SUMS} -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum > {SUMS}` in it, "
            "or let the URI name one .onnx file",
        )

    def _get(self, path: str, doing: str, headers: Mapping[str, str], expected: tuple[int, ...]) -> Response:
        url, sent = self._base + path, {"Accept-Encoding": "identity", **headers}

        def ours(there: str) -> dict[str, str]:
            known = self._authorization if self._transport.is_ours(there) else ""
            return {**sent, "Authorization": known} if known else sent

        first = self._transport.open("GET", url, doing, ours(url))
        response = self._transport.follow(first, "GET", url, doing, ours)
        if response.status not in expected:
            raise self._refusal(response, doing)
        return response

    def _refusal(self, response: Response, doing: str) -> LoadError:
        response.close()
        status, told = response.status, f"{doing} at {self._base}: HTTP {response.status}"
        if status in {401, 403}:
            why = "the credentials of model.storage.secretRef were sent" if self._authorization else "none were sent"
            return fetch_error(LoadReason.ACCESS_DENIED, f"{told}: the server wants other credentials, {why}")
        if status in {404, 410}:
            return fetch_error(LoadReason.MODEL_NOT_FOUND, f"{told}: there is no such file")
        seconds = rest(response)
        asked = f", and asks to be left alone for {seconds:.0f} s" if seconds else ""
        return LoadError(LoadReason.SOURCE_UNREACHABLE, f"{told}{asked}", "fetch", permanent=False, retry_after=seconds)

    def _reading(self, file: RemoteFile) -> str:
        return f"reading {self._base}{file.key}"


def _authorization(directory: str | None) -> str:
    """The header, from a mounted Secret: `token`, or `username` and `password`; LoadError AccessDenied when it holds neither."""
    if directory is None:
        return ""
    token, user, password = (_secret(Path(directory) / name) for name in ("token", "username", "password"))
    if token and (user or password):
        raise _unusable(directory, "holds both token and username: which is meant? Leave one out")
    if token:
        return f"Bearer {token}"
    if not user or ":" in user:
        raise _unusable(directory, "holds neither token nor username and password, or a username with a colon")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _secret(file: Path) -> str:
    """What a key of the Secret holds; empty when it is not there."""
    try:
        with file.open("rb") as source:
            content = source.read(_MOST_SECRET).decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(str(file), f"cannot be read as text: {type(error).__name__}") from None
    if content != content.strip():
        raise _unusable(str(file), "begins or ends with white space: make the Secret anew without it")
    if not content.isprintable() or (file.name == "token" and not content.isascii()):
        raise _unusable(str(file), "holds signs that no header can carry")
    return content


def _unusable(where: str, why: str) -> LoadError:
    return fetch_error(LoadReason.ACCESS_DENIED, f"the Secret of model.storage.secretRef, mounted at {where}, {why}")

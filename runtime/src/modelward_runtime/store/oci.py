"""Reads a model that is an artifact of a registry: its manifest says which files, each file is a blob.

Called by `fetch.py` on a thread of its own: every call blocks. Every byte is compared with a digest: the manifest's with the URI's
where it names one, each blob's, while it streams, with the manifest's. A broken connection is taken up where it broke.

    manifest ▶ artifact.parse ▶ files ▶ GET blob (redirect to an object store) ▶ pieces ▶ fetch.py hashes and compares
"""

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from urllib3.exceptions import HTTPError

from modelward_runtime.config import Oci
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import artifact, dockerconfig
from modelward_runtime.store.dockerconfig import Credentials
from modelward_runtime.store.locate import OciLocation, fetch_error
from modelward_runtime.store.registry import Registry, Response
from modelward_runtime.store.remote import PIECE, Reading, RemoteFile

_ATTEMPTS: Final = 5  # of one blob
_PAUSE: Final = 0.1  # seconds, doubled each time
_HUB: Final = {"docker.io": "registry-1.docker.io"}


class Repository:
    """One artifact of one repository, to read."""

    def __init__(self, location: OciLocation, settings: Oci, ca_bundle_file: str | None, stall: float) -> None:
        file = Path(settings.docker_config_file) if settings.docker_config_file else None
        self.location = location
        self._registry = connect(location, settings.endpoint, dockerconfig.read(file, location), ca_bundle_file, stall)

    def files(self) -> list[RemoteFile]:
        """The files that the manifest lists."""
        doing = f"reading the manifest of {self.location.uri}"
        path = f"v2/{self.location.repository}/manifests/{self.location.reference}"
        accept = {"Accept": f"{artifact.MANIFEST_TYPE}, {artifact.INDEX_TYPE}"}
        response = self._registry.ask("GET", path, doing, headers=accept)
        content = self._registry.content(response, doing, artifact.MOST_BYTES)
        if not content:
            raise fetch_error(LoadReason.TRUNCATED, f"{doing}: the answer is empty", permanent=False)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if self.location.digest not in {"", digest}:
            raise fetch_error(
                LoadReason.DIGEST_MISMATCH,
                f"{self.location.uri}: the registry gave a manifest with the digest {digest}",
            )
        return artifact.parse(content, self.location.uri)

    def read(self, file: RemoteFile) -> Reading:
        """Stream one blob; it is asked for when the first piece is."""
        return Reading(file.size, self._pieces(file))

    def _pieces(self, file: RemoteFile) -> Iterator[bytes]:
        received, attempt = 0, 1
        while received < file.size:
            try:
                for piece in self._from(file, received):
                    received += len(piece)
                    yield piece
            except LoadError as error:
                if error.permanent or attempt == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE * 2**attempt)
                attempt += 1

    def _from(self, file: RemoteFile, start: int) -> Iterator[bytes]:
        """The bytes of a blob from `start` on, at most as many as the manifest says."""
        doing = f"reading {file.name} of {self.location.uri}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        path = f"v2/{self.location.repository}/blobs/{file.key}"
        response = self._registry.ask("GET", path, doing, headers=headers, expected=(200, 206))
        if start and response.status != 206:
            response.close()
            raise fetch_error(
                LoadReason.TRUNCATED, f"{doing}: the connection broke, and the registry starts over", permanent=False
            )
        left = file.size - start
        try:
            for piece in self._stream(response, doing):
                left -= len(piece)
                if left < 0:
                    raise fetch_error(
                        LoadReason.DIGEST_MISMATCH, f"{doing}: more bytes came than the {file.size} of the manifest"
                    )
                yield piece
        finally:
            response.close()
        if left:
            raise fetch_error(
                LoadReason.TRUNCATED,
                f"{doing}: {file.size - left} bytes came, {file.size} were announced",
                permanent=False,
            )

    def _stream(self, response: Response, doing: str) -> Iterator[bytes]:
        try:
            yield from response.stream(PIECE, decode_content=False)
        except (HTTPError, OSError) as error:
            raise self._registry.explain(error, doing) from None


def connect(
    location: OciLocation,
    endpoint: str | None,
    credentials: Credentials,
    ca_bundle_file: str | None,
    stall: float,
    actions: str = "pull",
) -> Registry:
    """The registry of a location, not asked anything yet. `endpoint` stands in for https://REGISTRY."""
    base = endpoint or f"https://{_HUB.get(location.registry, location.registry)}"
    scope = f"repository:{location.repository}:{actions}"
    return Registry(base, scope, credentials, Path(ca_bundle_file) if ca_bundle_file else None, stall)

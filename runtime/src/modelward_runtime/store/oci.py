"""Reads a model that is an artifact of a registry: its manifest says which files, each file is a blob.

Called by `fetch.py` on a thread of its own: every call blocks. Every byte is compared with a digest: the manifest's with the URI's
where it names one, each blob's, while it streams, with the manifest's. A broken connection is taken up where it broke.

    manifest ▶ artifact.parse ▶ files ▶ GET blob (redirect to an object store) ▶ pieces ▶ fetch.py hashes and compares
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from modelward_runtime.config import Oci
from modelward_runtime.errors import LoadReason
from modelward_runtime.store import artifact, dockerconfig
from modelward_runtime.store.dockerconfig import Credentials
from modelward_runtime.store.locate import OciLocation, fetch_error
from modelward_runtime.store.ranges import stream
from modelward_runtime.store.registry import Registry
from modelward_runtime.store.remote import ChangedError, Reading, RemoteFile
from modelward_runtime.store.transport import Response

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
        content = self._registry.document(response, doing, artifact.MOST_BYTES)
        if not content:
            raise fetch_error(LoadReason.TRUNCATED, f"{doing}: the answer is empty", permanent=False)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if self.location.digest not in {"", digest}:
            raise fetch_error(
                LoadReason.DIGEST_MISMATCH,
                f"{self.location.uri}: the registry gave a manifest with the digest {digest}",
            )
        return [replace(file, divisible=True) for file in artifact.parse(content, self.location.uri)]

    def read(self, file: RemoteFile) -> Reading:
        """Stream one blob; it is asked for when the first piece is."""
        return Reading(file.size, self.part(file, 0, file.size))

    def part(self, file: RemoteFile, start: int, stop: int) -> Iterator[memoryview]:
        """Stream some of a blob: its digest is its name, so that it is always the same."""
        doing = f"reading {file.name} of {self.location.uri}"
        path = f"v2/{self.location.repository}/blobs/{file.key}"

        def ask(at: int) -> Response:
            whole = at == 0 and stop == file.size
            headers = {} if whole else {"Range": f"bytes={at}-{stop - 1}"}
            response = self._registry.ask("GET", path, doing, headers=headers, expected=(200, 206))
            if not whole and response.status != 206:
                response.close()
                raise ChangedError(f"{doing}: the registry gives no parts of it")
            return response

        return stream(ask, start, stop, doing, self._registry.transport)


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

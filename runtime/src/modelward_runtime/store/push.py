"""Writes an artifact into a registry, blob by blob, the manifest last: until then nobody can name what is there.

`sealed/targets.py` seals through it. A blob goes up in chunks while it is made, because its digest is known only at its end; memory
holds one chunk. What was pushed and is in no manifest, the registry collects.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store import artifact, dockerconfig
from modelward_runtime.store.artifact import Descriptor
from modelward_runtime.store.locate import OciLocation
from modelward_runtime.store.oci import connect

_CHUNK: Final = 16 << 20  # bytes
_ATTEMPTS: Final = 5  # of one chunk
_PAUSE: Final = 0.1  # seconds, doubled each time
_OCTETS: Final = {"Content-Type": "application/octet-stream"}


class Step(NamedTuple):
    """What the registry says of an upload: where to go on, and how many bytes it has."""

    place: str
    reached: int


class Draft:
    """An artifact in the making, with the credentials of `docker login`."""

    def __init__(self, location: OciLocation, endpoint: str | None, ca_bundle: Path | None, stall: float) -> None:
        credentials = dockerconfig.read(dockerconfig.users_file(), location)
        bundle = str(ca_bundle) if ca_bundle else None
        self.location = location
        self._registry = connect(location, endpoint, credentials, bundle, stall, "pull,push")
        self._home = f"v2/{location.repository}"
        self._layers: list[Descriptor] = []

    def is_taken(self) -> bool:
        """Is there an artifact of this tag?"""
        doing, path = f"looking for {self.location.uri}", f"{self._home}/manifests/{self.location.tag}"
        try:
            self._registry.ask("HEAD", path, doing, headers={"Accept": f"{artifact.MANIFEST_TYPE}, */*"}).close()
        except LoadError as error:
            if error.reason is LoadReason.MODEL_NOT_FOUND:
                return False
            raise
        return True

    @contextmanager
    def writing(self, name: str) -> Iterator["Upload"]:
        """Upload a file; it is the artifact's once the context has ended without an error."""
        with self._uploading(f"writing {name} of {self.location.uri}") as upload:
            yield upload
        self._layers.append(artifact.describe(upload.hexdigest(), upload.size, name))

    def publish(self) -> None:
        """Give the artifact its tag: from now on it is there."""
        with self._uploading(f"writing the config of {self.location.uri}") as upload:
            upload.write(artifact.EMPTY)
        content = artifact.encode(self._layers, artifact.describe(upload.hexdigest(), upload.size))
        path, doing = f"{self._home}/manifests/{self.location.tag}", f"writing the manifest of {self.location.uri}"
        headers = {"Content-Type": artifact.MANIFEST_TYPE}
        self._registry.ask("PUT", path, doing, headers=headers, body=content, expected=(201,)).close()

    @contextmanager
    def _uploading(self, doing: str) -> Iterator["Upload"]:
        upload = Upload(self, doing)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.cancel()
            raise

    def ask(self, method: str, url: str, doing: str, expected: int, body: bytes = b"", start: int = 0) -> Step:
        """One step of an upload. `start`: where in the blob the body begins."""
        span = {"Content-Range": f"{start}-{start + len(body) - 1}"} | _OCTETS if body else {}
        response = self._registry.ask(method, url, doing, headers=span, body=body, expected=(expected,))
        target, reached = response.headers.get("location", ""), response.headers.get("range", "")
        response.close()
        return Step(
            self._registry.resolve(url, target, doing) if target else url,
            int(end) + 1 if (end := reached.rpartition("-")[2]).isdecimal() and len(end) <= 18 else 0,
        )

    def begin(self, doing: str) -> str:
        """Where a new upload goes."""
        return self.ask("POST", f"{self._home}/blobs/uploads/", doing, 202).place


class Upload:
    """One blob on its way."""

    def __init__(self, draft: Draft, doing: str) -> None:
        self._draft = draft
        self._doing = doing
        self._place = draft.begin(doing)
        self._waiting = bytearray()
        self._sent = 0
        self._digest = hashlib.sha256()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._sent + len(self._waiting)

    def hexdigest(self) -> str:
        """Of the bytes so far."""
        return self._digest.hexdigest()

    def write(self, content: bytes, /) -> None:
        """Append; sent once a chunk is full."""
        self._digest.update(content)
        self._waiting += content
        if len(self._waiting) >= _CHUNK:
            self._send()

    def finish(self) -> None:
        """Send the rest, and have the registry compare the digest."""
        if self._waiting:
            self._send()
        sign = "&" if "?" in self._place else "?"
        url = f"{self._place}{sign}digest=sha256:{self.hexdigest()}"
        self._draft.ask("PUT", url, self._doing, 201)

    def cancel(self) -> None:
        """Tell the registry to forget it, as far as that is possible: called when something has failed already."""
        with suppress(LoadError):
            self._draft.ask("DELETE", self._place, self._doing, 204)

    def _send(self) -> None:
        """Send a chunk; when the connection breaks, ask how much of it came, and send the rest."""
        body, end = bytes(self._waiting), self.size
        self._waiting.clear()
        for attempt in range(1, _ATTEMPTS + 1):
            rest = body[len(body) - (end - self._sent) :]
            try:
                self._place = self._draft.ask("PATCH", self._place, self._doing, 202, rest, self._sent).place
                break
            except LoadError as error:
                if error.permanent or attempt == _ATTEMPTS:
                    raise
                time.sleep(_PAUSE * 2**attempt)
                self._look(end)
                if self._sent == end:
                    return
        self._sent = end

    def _look(self, end: int) -> None:
        """How far the registry is, and where it wants the rest; as before when it does not say."""
        with suppress(LoadError):
            step = self._draft.ask("GET", self._place, self._doing, 204)
            if self._sent <= step.reached <= end:
                self._place, self._sent = step.place, step.reached

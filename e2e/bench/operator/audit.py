"""What the API server's audit log says: who wrote what, when, by the API server's own clock."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

WRITES: Final = frozenset({"create", "update", "patch", "delete"})
READS: Final = frozenset({"get", "list"})
MODEL: Final = re.compile(r"m-\d{5}")  # load.py names models so; children's names begin with it

POLICY: Final = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: None, users: ["system:apiserver"]}
- {level: None, nonResourceURLs: ["*"]}
- {level: None, verbs: [watch]}
- {level: Metadata}
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the API server answered."""

    at: float
    """Seconds since the epoch, when it was answered."""
    user: str
    verb: str
    resource: str
    """With its subresource: `deployments`, `modeldeployments/status`."""
    namespace: str
    name: str
    code: int

    @property
    def model(self) -> tuple[str, str]:
        """Namespace and name of the model that the object belongs to; of what belongs to none, an empty name."""
        found = MODEL.match(self.name)
        return self.namespace, found[0] if found else ""

    @property
    def is_write(self) -> bool:
        """Whether it changed something, or may have: a conflict does not."""
        return self.verb in WRITES and self.code < 400


def calls(text: bytes) -> Iterator[Call]:
    """Whole lines of an audit log."""
    for line in text.splitlines():
        said: dict[str, Any] = json.loads(line)
        what = said.get("objectRef", {})
        resource = "/".join(filter(None, (what.get("resource", ""), what.get("subresource", ""))))
        yield Call(
            datetime.fromisoformat(said["stageTimestamp"]).timestamp(),
            said["user"].get("username", ""),
            said["verb"],
            resource,
            what.get("namespace", ""),
            what.get("name", ""),
            said.get("responseStatus", {}).get("code", 0),
        )


class Log:
    """Reads a growing audit log, each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def skip(self) -> None:
        """Forget what was written by now."""
        self._at = self._path.stat().st_size

    def read(self) -> list[Call]:
        """What was written since the last time."""
        with self._path.open("rb") as log:
            log.seek(self._at)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return list(calls(whole))


def of(found: Iterable[Call], user: str) -> list[Call]:
    """What one user did, but for what keeps its leadership."""
    return [call for call in found if call.user == user and call.resource not in {"leases", "events"}]

"""What `doctor` looks at, and how a check ends. The checks are in `checks_cluster.py`, `checks_operator.py` and `checks_models.py`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Json = dict[str, Any]
OPERATOR: Final = "modelward-operator"


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    result: Result
    message: str
    next: str = ""
    """What to do; empty where nothing is."""


@dataclass(frozen=True, slots=True)
class Replica:
    """What one operator pod says of itself; or why it says nothing."""

    pod: str
    figures: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Values by metric and label: of modelward_watch_age_seconds by kind; under `refused`, requests that got 403 by `verb kind`."""
    silence: str = ""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The API server's time just before and just after the Lease was read, in whole seconds, and this machine's around the first of them.

    What lies between is how long kubectl took, and no difference of clocks.
    """

    before: datetime
    after: datetime
    local_before: datetime
    local_after: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was read. What could not be read stands in `unread` under the field's name, in kubectl's words."""

    namespace: str
    server_version: str = ""
    crds: Sequence[Json] = ()
    operators: Sequence[Json] = ()
    """Deployments of operators, of every namespace that could be read."""
    activators: Sequence[Json] = ()
    lease: Json = field(default_factory=dict)
    pods: Sequence[Json] = ()
    """Of the operator."""
    refused: Sequence[str] = ()
    """Rights that the operator's ServiceAccount lacks, in words."""
    asked: int = 0
    """Rights that were asked about."""
    admission: Sequence[Json] = ()
    """ValidatingAdmissionPolicies and their bindings."""
    models: Sequence[Json] = ()
    replicas: Sequence[Replica] = ()
    clocks: Clocks | None = None
    unread: Mapping[str, str] = field(default_factory=dict)


def unread(seen: Seen, *names: str) -> Finding | None:
    """Return the finding about a fact that could not be read; None where all were."""
    for name in names:
        if why := seen.unread.get(name):
            return Finding(
                Result.UNKNOWN, f"cannot be read: {why}", "Ask somebody who may, as an administrator of the cluster."
            )
    return None


def age_of(moment: str, now: datetime) -> float:
    """Return the seconds from a time that somebody wrote to `now`; negative when it lies ahead, and infinite when it is none."""
    try:
        return (now - datetime.fromisoformat(moment)).total_seconds()
    except (ValueError, TypeError):
        return math.inf


def few(found: Sequence[str], shown: int = 5) -> str:
    """Return the first of them, and how many more there are."""
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return ", ".join(found[:shown]) + more

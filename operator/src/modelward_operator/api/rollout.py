"""How a new revision replaces the old one: `spec.rollout`."""

from enum import StrEnum
from typing import Final

from pydantic import Field

from modelward_operator.api.types import Struct

HISTORY_LIMIT: Final = 5
"""Former revisions that are kept where the spec says nothing."""


class RolloutStrategy(StrEnum):
    """How a new revision replaces the old one."""

    AUTO = "Auto"
    ROLLING_UPDATE = "RollingUpdate"
    RECREATE = "Recreate"


class Rollout(Struct):
    """How a new revision replaces the old one."""

    strategy: RolloutStrategy = Field(
        default=RolloutStrategy.AUTO,
        description="RollingUpdate: the new pod first, then the old one goes. Recreate: the old ones go first. Auto: RollingUpdate, and in "
        "place, one at a time, when an accelerator for the extra pod cannot be had for 30 s.",
    )
    revision_history_limit: int = Field(
        default=HISTORY_LIMIT,
        ge=0,
        le=100,
        description="How many former revisions are kept to look at and to go back to (`kubectl modelward history`, `rollback`), besides "
        "the one that serves. A revision is noted down, as a ControllerRevision, once it serves.",
    )

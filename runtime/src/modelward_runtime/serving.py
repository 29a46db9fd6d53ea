"""What serves right now, for those who write it down: `report.py` implements it, `audit/` and `payloads/` read it.

Apart from the report, because what an inference is must not depend on what the report knows of transports.
"""

from typing import Protocol

from modelward_runtime.config import Boot


class Serving(Protocol):
    """The model by name, version and digest (empty until known), and the policy in force."""

    @property
    def boot(self) -> Boot:
        """Names the model."""

    @property
    def digest(self) -> str:
        """Of what is loaded."""

    @property
    def policy_generation(self) -> str:
        """Of the policy in force."""

"""What serves right now, for those who write it down: `report.py` implements it, `audit/` and `payloads/` read it.

Apart from the report, because what an inference is must not depend on what the report knows of transports.
"""

import os
import time
from typing import Protocol

from modelward_runtime.config import Boot
from modelward_runtime.sinks.sink import Writer, model_id, new_boot


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


def new_writer(boot: Boot) -> Writer:
    """A writer of this process's logs.

    Its model is the ModelDeployment, by namespace and name; where boot.json does not name it (`modelward serve`, an operator from before),
    the model's own name has to do.
    """
    deployment = boot.access.authorization if boot.access else None
    namespace = deployment.namespace if deployment else os.environ.get("POD_NAMESPACE", "")
    name = deployment.name if deployment else boot.model.name
    return Writer(boot=new_boot(time.time(), model_id(namespace, name)))

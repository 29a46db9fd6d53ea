"""What passes and the operator's process need of the activator: its facts for one model, and its CA before its pods can start.

Read, for one model's pass, what is known of the activator: the model's ports, who could take over, and the CA that clients shall trust.

Called by gather.py. A model that needs no activator costs nothing here, and gives its ports back. main.py runs `found_authority` where the
Lease is held.
"""

import asyncio
import logging
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.authority import Authorities
from modelward_operator.cluster.ports import Ports
from modelward_operator.cluster.switchboard import Switchboard
from modelward_operator.errors import OperatorError
from modelward_operator.facts import Activator, Given
from modelward_operator.plan.activation import needs_activator, standing_of
from modelward_operator.plan.certificate import is_managed

RENEWAL: Final = 3600.0
"""Seconds between looks whether the CA needs a successor."""
PAUSE: Final = 2.0

logger = logging.getLogger(__name__)


class ActivatorReader:
    """Reads through the allocation of ports, the switchboard and the activator's CA."""

    def __init__(self, ports: Ports, switchboard: Switchboard, authorities: Authorities) -> None:
        self._ports, self._switchboard, self._authorities = ports, switchboard, authorities

    async def read(self, given: Given, spec: ModelDeploymentSpec) -> Activator:
        """Return the facts. Raises Unreadable, Conflict when the CA cannot be had."""
        if not needs_activator(given, spec):
            self._ports.release(given.key)
            return Activator()
        bundle = (await self._authorities.public()).bundle if is_managed(spec) else ""
        return Activator(self._ports.allot(given.key), self._pods(given), bundle)

    def _pods(self, given: Given) -> tuple[str, ...]:
        """Who could take over. A new leader leaves those behind the Service that the one before put there, until it has heard them."""
        kept = standing_of(given).joined & self._switchboard.unheard()
        return tuple(sorted(kept.union(self._switchboard.able(given.key))))

    async def found_authority(self) -> None:
        """See for ever that the CA exists: the activator's pods mount its Secret, and start when it is there."""
        while True:
            try:
                await self._authorities.public()
            except OperatorError as error:
                logger.warning("the activator's CA", extra={"error": str(error), "retry": PAUSE})
                await asyncio.sleep(PAUSE)
            else:
                await asyncio.sleep(RENEWAL)

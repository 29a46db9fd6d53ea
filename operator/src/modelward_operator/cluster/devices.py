"""Which devices the nodes have for a model, from the Nodes in the store. Called by gather.py.

An operator that serves some namespaces only may not read Nodes, which are the cluster's: then nothing is known. Models that ask for the
same get the same answer, until a node is another one.
"""

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.cluster.prices import Prices
from modelward_operator.facts import Devices
from modelward_operator.plan.devices import devices_for
from modelward_operator.plan.names import canonical_json


class DeviceReader:
    """Reads Nodes as `prices` keeps them."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._answers: dict[str, Devices] = {}
        self._of: object = None

    def read(self, spec: ModelDeploymentSpec) -> Devices:
        """Return what the nodes have for the model; empty without an accelerator, or where Nodes may not be read."""
        if spec.accelerator is None or not self._prices.clusterwide:
            return Devices()
        nodes, state = self._prices.nodes()
        if state != self._of:
            self._answers.clear()
            self._of = state
        asked = canonical_json([spec.accelerator.model_dump(mode="json"), spec.scheduling.node_selector])
        if asked not in self._answers:
            self._answers[asked] = devices_for(spec, nodes)
        return self._answers[asked]

"""PriceBook, the kind in which an administrator says what nodes cost: by their labels, per hour, in one currency.

Cluster-scoped, without a status. What a pod costs on a node is computed in `pricing/`, which also says why a price is not known.
"""

from typing import Annotated, Final

from pydantic import Field, StrictInt, StringConstraints

from modelward_operator.api.types import LabelKey, LabelValue, ListedBy, Matches, ObjectName, Rule, Struct

BOOK_KIND: Final = "PriceBook"
BOOK_PLURAL: Final = "pricebooks"
NODE_PRICE_LABEL: Final = "modelward.dev/price-per-hour"

Price = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16),
    Matches(
        r"^(0|[1-9][0-9]{0,5})([.][0-9]{1,9})?$",
        'a price must be a decimal number in quotes, from 0 to less than 1000000 and with at most nine decimals, for example "3.06"',
    ),
]
"""Per hour, in the book's currency. Nine decimals are what money is counted in."""
Currency = Annotated[
    str,
    StringConstraints(min_length=3, max_length=3),
    Matches(r"^[A-Z]{3}$", "currency must be three capital letters as in ISO 4217, for example USD"),
]
ResourceName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Matches(
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        "resourceName must be a device's name with its domain, for example nvidia.com/gpu",
    ),
]


class AcceleratorPrice(Struct):
    """What one whole device costs."""

    resource_name: ResourceName = Field(
        description="Device as nodes advertise it, for example nvidia.com/gpu. A MIG slice without a line of its own "
        "(nvidia.com/mig-1g.10gb) costs its part of nvidia.com/gpu."
    )
    price: Price = Field(description="Per device and hour, before it is shared or sliced.", examples=["2.5"])


class NodePrice(Struct):
    """What is paid for: the whole node, or each of its resources by itself."""

    rules = (
        Rule(
            "has(self.node) != (has(self.cpu) || has(self.memoryGiB) || (has(self.accelerators) && size(self.accelerators) > 0))",
            lambda it: (it.node is not None) != bool(it.cpu or it.memory_gib or it.accelerators),
            "a price is either node, for the whole of it, or some of cpu, memoryGiB and accelerators, which add up",
        ),
    )

    node: Price | None = Field(
        default=None,
        description="Of the whole node, per hour. A pod costs the largest of its shares of the node's CPU, memory and devices.",
        examples=["3.06"],
    )
    cpu: Price | None = Field(default=None, description="Of one core, per hour.", examples=["0.03"])
    memory_gib: Price | None = Field(
        default=None, alias="memoryGiB", description="Of one GiB of memory, per hour.", examples=["0.004"]
    )
    accelerators: Annotated[list[AcceleratorPrice], Field(max_length=8), ListedBy("resource_name")] = Field(
        default=[],
        description="Of devices, per hour.",
        json_schema_extra={"x-kubernetes-list-map-keys": ["resourceName"]},
    )


class AcceleratorFacts(Struct):
    """What the nodes' devices are, where GPU feature discovery has not labelled the nodes, or is to be overruled."""

    memory_gib: StrictInt | None = Field(
        default=None,
        ge=1,
        le=4096,
        alias="memoryGiB",
        description="Memory of one device, for the part that a MIG slice is of it. Absent: the label nvidia.com/gpu.memory.",
    )
    count: StrictInt | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Devices of the node, for the part that a MIG slice is of a node's price. Absent: the label nvidia.com/gpu.count.",
    )
    replicas: StrictInt | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="Pods that share one device by time-slicing: its price is divided among them. Absent: the label "
        "nvidia.com/gpu.replicas, else 1.",
    )


class NodeEntry(Struct):
    """The price of the nodes that have some labels."""

    name: ObjectName = Field(description="Name of the entry, for messages.")
    match_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = Field(
        default={},
        description="Labels that the node must have, all of them. Of several entries that fit a node, of all books, the one with the most "
        "labels holds; two with equally many are a tie, and the node has no price. Absent: every node.",
        examples=[{"node.kubernetes.io/instance-type": "p4d.24xlarge", "karpenter.sh/capacity-type": "spot"}],
    )
    price: NodePrice = Field(description="What such a node costs.")
    accelerator: AcceleratorFacts | None = Field(default=None, description="What its devices are. Absent: as labelled.")


class Fallback(Struct):
    """Where the price of a node stands that no entry fits."""

    node_label: LabelKey = Field(
        description="Label of the node whose value is its price per hour as a whole. Who may label nodes sets prices by it.",
        examples=[NODE_PRICE_LABEL],
    )


class PriceBookSpec(Struct):
    """Prices of nodes. Several books add up."""

    rules = (
        Rule(
            "(has(self.nodes) && size(self.nodes) > 0) || has(self.fallback)",
            lambda it: bool(it.nodes) or it.fallback is not None,
            "a book must price something: at least one of nodes, or fallback",
        ),
    )

    currency: Currency = Field(description="Of every price in this book.", examples=["USD"])
    nodes: Annotated[list[NodeEntry], Field(max_length=128), ListedBy("name")] = Field(
        default=[], description="Prices by the nodes' labels."
    )
    fallback: Fallback | None = Field(
        default=None, description="For nodes that no entry of any book fits. Absent: their price is not known."
    )

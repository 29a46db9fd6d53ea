"""Why a price is not known: every word that a user can read, with its meaning. They stand in `status.cost.unknown`."""

from enum import StrEnum


class Why(StrEnum):
    """One word; the message beside it names the node and the field."""

    MISSING = "PriceMissing"
    """No entry of any PriceBook fits the node, and it has no fallback label."""
    AMBIGUOUS = "PriceAmbiguous"
    """Several entries fit the node with equally many labels, or several fallbacks contradict each other."""
    INVALID = "PriceInvalid"
    """The fallback label's value is no price, or a stored PriceBook cannot be read."""
    DEVICE_UNKNOWN = "AcceleratorUnknown"
    """Which part of the node the pod's device is cannot be told, or the device has no price."""
    NOTHING_REQUESTED = "NothingRequested"
    """The pod requests no CPU, no memory and no device: its part of the node is not known."""
    NODE_UNKNOWN = "NodeUnknown"
    """The node is not there (any more), or does not say what it has."""
    UNREADABLE = "NodesUnreadable"
    """The operator serves some namespaces only, and may read neither nodes nor PriceBooks."""
    CURRENCIES_DIFFER = "CurrenciesDiffer"
    """The model's pods are priced in several currencies: no sum of them is one number."""

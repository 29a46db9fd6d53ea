"""What a pod costs per hour on a node, by the PriceBooks. Pure.

    node ──▶ the entry with the most labels ──▶ of the whole node:  price × max(CPU share, memory share, device share)
         │                                  └─▶ by resource:       cores × price + GiB × price + devices × part × price
         └─▶ no entry: the fallback label ────▶ of the whole node

Sums are exact fractions, rounded up to a whole nano unit at the end. Whatever is not known makes the price unknown, with the reason: a
guess would be a budget that does not hold. Called by cluster/prices.py and, for `plan`, by cli.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

from modelward_operator.api.pricebook import AcceleratorFacts, NodeEntry, NodePrice
from modelward_operator.pricing.devices import SHARED, device_of, devices_of_node, is_slice, part_of_device
from modelward_operator.pricing.facts import GIB, Node, PriceBook, Rate, Requests, Unpriced
from modelward_operator.pricing.money import nano
from modelward_operator.pricing.reasons import Why

DEAREST: Final = 10**18
"""Nano units per hour, 10⁹ of the currency's: what a pod costs at most, so that sums of any number of pods can be written down."""
_PRICE: Final = re.compile(r"(0|[1-9][0-9]{0,5})([.][0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Tariff:
    """The price that holds for a node, and where it stands."""

    price: NodePrice
    currency: str
    devices: AcceleratorFacts
    source: str


def price_of(requests: Requests, node: Node, books: Sequence[PriceBook]) -> Rate | Unpriced:
    """Return what a pod with these requests costs on this node."""
    tariff = tariff_of(node, books)
    return tariff if isinstance(tariff, Unpriced) else rate_by(tariff, requests, node)


def tariff_of(node: Node, books: Sequence[PriceBook]) -> Tariff | Unpriced:
    """Return the price that holds for the node: of the entries that fit, of all books, the one with the most labels."""
    fitting = [
        (len(entry.match_labels), tariff(book, entry))
        for book in books
        for entry in book.spec.nodes
        if entry.match_labels.items() <= node.labels.items()
    ]
    most = max((labels for labels, _ in fitting), default=0)
    best = [tariff for labels, tariff in fitting if labels == most]
    if len(best) > 1:
        names = " and ".join(sorted(tariff.source for tariff in best))
        return Unpriced(Why.AMBIGUOUS, f"the PriceBook entries {names} fit node {node.name} equally well")
    return best[0] if best else _fallback(node, books)


def rate_by(tariff: Tariff, requests: Requests, node: Node) -> Rate | Unpriced:
    """Return what the requests cost on the node at this price."""
    if requests.is_empty:
        return Unpriced(Why.NOTHING_REQUESTED, "the pod requests no CPU, memory or device: set spec.resources.requests")
    price = tariff.price
    cost = _whole(tariff, requests, node) if price.node is not None else _by_resource(tariff, requests, node)
    return cost if isinstance(cost, Unpriced) else Rate(min(ceil(cost), DEAREST), tariff.currency)


def tariff(book: PriceBook, entry: NodeEntry) -> Tariff:
    """Return the price that an entry of a book says."""
    return Tariff(entry.price, book.spec.currency, entry.accelerator or AcceleratorFacts(), f"{book.name}/{entry.name}")


def _fallback(node: Node, books: Sequence[PriceBook]) -> Tariff | Unpriced:
    said = {
        (book.spec.currency, node.labels[book.spec.fallback.node_label]): book.spec.fallback.node_label
        for book in books
        if book.spec.fallback and book.spec.fallback.node_label in node.labels
    }
    if not said:
        return Unpriced(Why.MISSING, f"no PriceBook has a price for node {node.name}")
    if len(said) > 1:
        return Unpriced(Why.AMBIGUOUS, f"the labels {', '.join(sorted(said.values()))} of node {node.name} differ")
    ((currency, text), label), *_ = said.items()
    if not _PRICE.fullmatch(text):
        return Unpriced(Why.INVALID, f"the label {label} of node {node.name} is no price: {text!r}")
    return Tariff(NodePrice(node=text), currency, AcceleratorFacts(), f"label {label}")


def _whole(tariff: Tariff, requests: Requests, node: Node) -> Fraction | Unpriced:
    """Return the part of the node's price that the largest of the pod's shares is."""
    shares = []
    for name, asked, has in (("CPU", requests.cpu, node.cpu), ("memory", requests.memory, node.memory)):
        if asked and not has:
            return Unpriced(Why.NODE_UNKNOWN, f"node {node.name} does not say how much {name} it has")
        shares.append(asked / has if asked else Fraction(0))
    for resource, number in sorted(requests.devices.items()):
        share = _device_share(resource, number, tariff.devices, node)
        if isinstance(share, Unpriced):
            return share
        shares.append(share)
    return nano(tariff.price.node or "0") * min(max(shares), Fraction(1))


def _device_share(resource: str, number: int, facts: AcceleratorFacts, node: Node) -> Fraction | Unpriced:
    """Return the part of the node's devices. What is advertised counts shared devices as often as they are shared."""
    if not is_slice(resource):
        has = node.devices.get(resource, 0)
        return (
            Fraction(number, has) if has else Unpriced(Why.DEVICE_UNKNOWN, f"node {node.name} advertises no {resource}")
        )
    part, devices = part_of_device(resource, node, facts), devices_of_node(node, facts)
    if part is None or not devices:
        return Unpriced(
            Why.DEVICE_UNKNOWN,
            f"which part of node {node.name} a {resource} is, is not known: label it nvidia.com/gpu.memory and nvidia.com/gpu.count, "
            "or set accelerator.memoryGiB and accelerator.count beside its price",
        )
    return number * part / devices


def _by_resource(tariff: Tariff, requests: Requests, node: Node) -> Fraction | Unpriced:
    price, requests = tariff.price, _within(node, requests)
    total = requests.cpu * nano(price.cpu or "0") + requests.memory / GIB * nano(price.memory_gib or "0")
    per_device = {line.resource_name: nano(line.price) for line in price.accelerators}
    for resource, number in sorted(requests.devices.items()):
        if resource in per_device and (is_slice(resource) or resource.endswith(SHARED)):
            total += number * per_device[resource]  # a line of its own says what this very piece costs
            continue
        whole = per_device.get(device_of(resource))
        part = part_of_device(resource, node, tariff.devices)
        if whole is None or part is None:
            wanted = f"a price of {device_of(resource)}" if whole is None else "the device's memory"
            return Unpriced(
                Why.DEVICE_UNKNOWN, f"{tariff.source} gives no price of {resource} on {node.name}: {wanted} is missing"
            )
        total += number * part * whole
    return total


def _within(node: Node, requests: Requests) -> Requests:
    """Return what a pod can hold of a node that says what it has: who binds a pod by hand may let it ask for any number."""
    return Requests(
        min(requests.cpu, node.cpu or requests.cpu),
        min(requests.memory, node.memory or requests.memory),
        {name: min(number, node.devices.get(name, number)) for name, number in requests.devices.items()},
    )

"""What a pod costs on a node: which price holds, which part of it, and why it may not be known."""

from fractions import Fraction
from typing import Any, NamedTuple

import pytest
import yaml

from modelward_operator.api.parse import Invalid, parse_book
from modelward_operator.pricing.facts import Node, PriceBook, Rate, Requests, Unpriced, node_of
from modelward_operator.pricing.money import nano, units
from modelward_operator.pricing.price import price_of
from modelward_operator.pricing.quote import Quote, quote
from modelward_operator.pricing.reasons import Why
from modelward_operator.pricing.requests import requests_of
from tests.price_books import REFUSED

GIB = 2**30
A100 = {"kind": "gpu", "nvidia.com/gpu.memory": "40960", "nvidia.com/gpu.count": "8"}
MIG = "nvidia.com/mig-1g.5gb"


def book(text: str, name: str = "cloud") -> PriceBook:
    spec = parse_book({"spec": yaml.safe_load(text)})
    assert not isinstance(spec, Invalid), spec
    return PriceBook(name, spec)


def node(labels: dict[str, str] | None = None, **devices: int) -> Node:
    named = {name.replace("__", "/").replace("_", "."): number for name, number in devices.items()}
    return Node("n", labels or {"kind": "gpu"}, Fraction(96), Fraction(1024 * GIB), named)


def asks(cpu: str = "0", gib: int = 0, **devices: int) -> Requests:
    named = {name.replace("__", "/").replace("_", "."): number for name, number in devices.items()}
    return Requests(Fraction(cpu), Fraction(gib * GIB), named)


WHOLE = book("{currency: USD, nodes: [{name: gpu, matchLabels: {kind: gpu}, price: {node: '32'}}]}")
PARTS = book(
    "{currency: USD, nodes: [{name: gpu, matchLabels: {kind: gpu}, price: {cpu: '0.03', memoryGiB: '0.004', "
    "accelerators: [{resourceName: nvidia.com/gpu, price: '2.4'}]}}]}"
)


class Case(NamedTuple):
    reason: str
    expected: str
    requests: Requests
    node: Node
    book: PriceBook


PRICED = [
    Case(
        "of a whole node the largest share: the GPU",
        "4",
        asks("4", 16, nvidia_com__gpu=1),
        node(nvidia_com__gpu=8),
        WHOLE,
    ),
    Case("the memory", "16", asks("4", 512, nvidia_com__gpu=1), node(nvidia_com__gpu=8), WHOLE),
    Case("the CPU", "24", asks("72", 16), node(), WHOLE),
    Case("all of it, and never more", "32", asks("192", 16), node(), WHOLE),
    Case(
        "time-slicing: of what is advertised, which counts each turn",
        "1",
        asks(nvidia_com__gpu=1),
        node({**A100, "nvidia.com/gpu.replicas": "4"}, nvidia_com__gpu=32),
        WHOLE,
    ),
    Case("a MIG slice of a whole node: by memory", "0.5", Requests(devices={MIG: 1}), node(A100), WHOLE),
    Case("by resource, in sum", "2.584", asks("4", 16, nvidia_com__gpu=1), node(nvidia_com__gpu=8), PARTS),
    Case("without a device", "0.184", asks("4", 16), node(), PARTS),
    Case("a MIG slice by its memory", "0.3", Requests(devices={MIG: 1}), node(A100), PARTS),
    Case("two slices", "0.6", Requests(devices={MIG: 2}), node(A100), PARTS),
    Case(
        "as the node labels the slice",
        "0.6",
        Requests(devices={MIG: 1}),
        node({**A100, f"{MIG}.memory": "10240"}),
        PARTS,
    ),
    Case(
        "a turn of a slice",
        "0.15",
        Requests(devices={f"{MIG}.shared": 1}),
        node({**A100, f"{MIG}.replicas": "2"}),
        PARTS,
    ),
    Case(
        "a turn of a GPU",
        "0.6",
        asks(nvidia_com__gpu=1),
        node({**A100, "nvidia.com/gpu.replicas": "4"}, nvidia_com__gpu=32),
        PARTS,
    ),
    Case(
        "a renamed turn of a GPU",
        "0.6",
        Requests(devices={"nvidia.com/gpu.shared": 1}),
        node({**A100, "nvidia.com/gpu.replicas": "4"}),
        PARTS,
    ),
    Case(
        "the book overrules the labels",
        "0.15",
        Requests(devices={MIG: 1}),
        node(A100),
        book(
            "{currency: USD, nodes: [{name: gpu, price: {accelerators: [{resourceName: nvidia.com/gpu, price: '2.4'}]}, "
            "accelerator: {memoryGiB: 80}}]}"
        ),
    ),
    Case(
        "a line of its own for a slice",
        "0.7",
        Requests(devices={MIG: 1}),
        node(),
        book(
            f"{{currency: USD, nodes: [{{name: gpu, price: {{accelerators: [{{resourceName: {MIG}, price: '0.7'}}]}}}}]}}"
        ),
    ),
    Case(
        "a third is rounded up",
        "0.333333334",
        asks("32"),
        node(),
        book("{currency: USD, nodes: [{name: a, price: {node: '1'}}]}"),
    ),
    Case(
        "nothing is a price too",
        "0",
        asks("1"),
        node(),
        book("{currency: USD, nodes: [{name: a, price: {node: '0'}}]}"),
    ),
    Case(
        "by the label", "0.5", asks("12"), node({"price": "4"}), book("{currency: USD, fallback: {nodeLabel: price}}")
    ),
    Case(
        "the entry with the most labels",
        "1",
        asks("96"),
        node({"kind": "gpu", "spot": "true"}),
        book(
            "{currency: USD, nodes: [{name: gpu, matchLabels: {kind: gpu}, price: {node: '3'}}, "
            "{name: spot, matchLabels: {kind: gpu, spot: 'true'}, price: {node: '1'}}, {name: all, price: {node: '9'}}], "
            "fallback: {nodeLabel: kind}}"
        ),
    ),
]


@pytest.mark.parametrize(
    ("reason", "expected", "requests", "on", "prices"), PRICED, ids=[case.reason for case in PRICED]
)
def test_a_pod_costs_its_part(reason: str, expected: str, requests: Requests, on: Node, prices: PriceBook) -> None:
    assert Rate(nano(expected), "USD") == price_of(requests, on, [prices]), reason


TIE = book("{currency: USD, nodes: [{name: a, matchLabels: {kind: gpu}, price: {node: '1'}}]}", "other")
LABEL = book("{currency: USD, fallback: {nodeLabel: price}}")
EURO_LABEL = book("{currency: EUR, fallback: {nodeLabel: price}}")
UNPRICED: list[tuple[str, Why, Requests, Node, list[PriceBook]]] = [
    ("no book", Why.MISSING, asks("1"), node(), []),
    ("no entry", Why.MISSING, asks("1"), node({"kind": "cpu"}), [WHOLE]),
    ("two entries of two books that fit equally well", Why.AMBIGUOUS, asks("1"), node(), [WHOLE, TIE]),
    (
        "two fallbacks that differ",
        Why.AMBIGUOUS,
        asks("1"),
        node({"price": "1"}),
        [LABEL, EURO_LABEL],
    ),
    ("a negative price", Why.INVALID, asks("1"), node({"price": "-1"}), [LABEL]),
    ("an absurd price", Why.INVALID, asks("1"), node({"price": "1000000"}), [LABEL]),
    ("a price that is none", Why.INVALID, asks("1"), node({"price": "free"}), [LABEL]),
    ("nothing requested", Why.NOTHING_REQUESTED, asks(), node(), [WHOLE]),
    ("a GPU that the node does not have", Why.DEVICE_UNKNOWN, asks(nvidia_com__gpu=1), node(), [WHOLE]),
    ("a slice of nobody knows what", Why.DEVICE_UNKNOWN, Requests(devices={MIG: 1}), node(), [WHOLE]),
    ("a slice whose GPU has no memory", Why.DEVICE_UNKNOWN, Requests(devices={MIG: 1}), node(), [PARTS]),
    ("a device without a price", Why.DEVICE_UNKNOWN, asks(amd_com__gpu=1), node(amd_com__gpu=1), [PARTS]),
    ("a node that says nothing of itself", Why.NODE_UNKNOWN, asks("1"), Node("n", {"kind": "gpu"}), [WHOLE]),
]


@pytest.mark.parametrize(("reason", "why", "requests", "on", "books"), UNPRICED, ids=[case[0] for case in UNPRICED])
def test_what_is_not_known_has_no_price_and_says_why(
    reason: str, why: Why, requests: Requests, on: Node, books: list[PriceBook]
) -> None:
    answer = price_of(requests, on, books)
    assert isinstance(answer, Unpriced), reason
    assert why is answer.why, reason
    assert len(answer.message) > 20


@pytest.mark.parametrize(("reason", "text", "message"), REFUSED, ids=[bad.reason for bad in REFUSED])
def test_a_book_that_is_wrong_is_refused(reason: str, text: str, message: str) -> None:
    answer = parse_book({"spec": yaml.safe_load(text)})
    assert isinstance(answer, Invalid), reason
    assert message in str(answer)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("0", 0), ("3.06", 3_060_000_000), ("0.000000001", 1), ("999999.999999999", 999_999_999_999_999)],
)
def test_money_is_read_and_written_without_a_loss(text: str, amount: int) -> None:
    assert amount == nano(text)
    assert text == units(amount)
    assert units(-amount) == (f"-{text}" if amount else "0")


def test_a_live_node_and_a_live_pod_are_read_as_kubernetes_writes_them() -> None:
    raw: dict[str, Any] = {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi"},
            "allocatable": {
                "cpu": "3920m",
                "memory": "7Gi",
                "pods": "110",
                "ephemeral-storage": "9",
                "nvidia.com/gpu": "2",
                "hugepages-2Mi": "0",
            },
        },
    }
    assert Node("n", {"a": "b"}, Fraction("3.92"), Fraction(7 * GIB), {"nvidia.com/gpu": 2}) == node_of(raw)
    containers = [
        {"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "nvidia.com/gpu": "1", "memory": "1Gi"}}},
        {"resources": {"requests": {"cpu": "1"}}},
        {},
    ]
    assert Requests(Fraction("1.5"), Fraction(GIB), {"nvidia.com/gpu": 1}) == requests_of({"containers": containers})


def wants(cpu: str, policy: str = "") -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **({"restartPolicy": policy} if policy else {})}


@pytest.mark.parametrize(
    ("reason", "more", "cpu"),
    [
        ("nothing beside its container", {}, "1"),
        ("a sidecar runs for the pod's life", {"initContainers": [wants("2", "Always")]}, "3"),
        ("a small init container is over before", {"initContainers": [wants("1")]}, "1"),
        ("a large init container is what the node must have free", {"initContainers": [wants("4")]}, "4"),
        ("it runs beside the sidecar before it", {"initContainers": [wants("2", "Always"), wants("4")]}, "6"),
        ("and not beside the one after it", {"initContainers": [wants("4"), wants("2", "Always")]}, "4"),
        ("a sandbox of its own takes its part", {"overhead": {"cpu": "250m"}}, "1.25"),
        ("and on top of the start", {"overhead": {"cpu": "250m"}, "initContainers": [wants("4")]}, "4.25"),
        ("the pod asks for itself", {"resources": {"requests": {"cpu": "5"}}, "overhead": {"cpu": "1"}}, "6"),
    ],
)
def test_a_pod_takes_of_its_node_what_the_scheduler_reserves(reason: str, more: dict[str, Any], cpu: str) -> None:
    assert Fraction(cpu) == requests_of({"containers": [wants("1")], **more}).cpu, reason


def test_a_quote_is_the_dearest_node_that_could_take_the_replica() -> None:
    nodes = [
        Node("small", {"kind": "gpu"}, Fraction(1), Fraction(GIB)),
        Node("cheap", {"kind": "gpu", "spot": "true"}, Fraction(4), Fraction(8 * GIB)),
        Node("dear", {"kind": "gpu"}, Fraction(4), Fraction(8 * GIB)),
    ]
    prices = book(
        "{currency: USD, nodes: [{name: gpu, matchLabels: {kind: gpu}, price: {node: '3'}}, "
        "{name: spot, matchLabels: {kind: gpu, spot: 'true'}, price: {node: '1'}}]}"
    )
    assert Quote(Rate(nano("1.5"), "USD"), "dear") == quote(asks("2"), {}, nodes, [prices])
    assert Quote(Rate(nano("0.5"), "USD"), "cheap") == quote(asks("2"), {"spot": "true"}, nodes, [prices])


def test_without_a_node_a_quote_is_what_the_dearest_fitting_entry_asks() -> None:
    assert Quote(Rate(nano("32"), "USD"), "cloud/gpu, a whole node") == quote(asks("2"), {}, [], [WHOLE])
    assert Quote(Rate(nano("2.46"), "USD"), "cloud/gpu") == quote(
        asks("2", nvidia_com__gpu=1), {"kind": "gpu"}, [], [PARTS]
    )
    missing = quote(asks("2"), {"kind": "cpu"}, [], [WHOLE])
    assert isinstance(missing, Unpriced)
    assert missing.why is Why.MISSING
    differ = quote(asks("2"), {}, [], [WHOLE, book("{currency: EUR, nodes: [{name: a, price: {node: '1'}}]}")])
    assert isinstance(differ, Unpriced)
    assert differ.why is Why.CURRENCIES_DIFFER

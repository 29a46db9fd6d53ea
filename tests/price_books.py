"""PriceBooks that are refused, with the words that tell what to write instead.

Read by tests/integration (the API server's word) and tests/unit (the word of `parse`).
"""

from typing import NamedTuple

PRICE = "a price must be a decimal number in quotes, from 0 to less than 1000000 and with at most nine decimals"
EITHER = "a price is either node, for the whole of it, or some of cpu, memoryGiB and accelerators, which add up"
CURRENCY = "currency must be three capital letters as in ISO 4217, for example USD"


class Bad(NamedTuple):
    """A book that is refused, with a rule's own `message`; empty where the schema's own words are enough."""

    reason: str
    spec: str
    message: str = ""


def priced(price: str) -> str:
    """Return the YAML of a book with this one price."""
    return f"{{currency: USD, nodes: [{{name: a, price: {{{price}}}}}]}}"


REFUSED = (
    Bad("negative", priced("node: '-1'"), PRICE),
    Bad("a million", priced("node: '1000000'"), PRICE),
    Bad("a float", priced("node: 1.5")),
    Bad("an exponent", priced("node: '1e3'"), PRICE),
    Bad("finer than money is counted in", priced("cpu: '0.0000000001'"), PRICE),
    Bad("a device's, negative", priced("accelerators: [{resourceName: nvidia.com/gpu, price: '-2'}]"), PRICE),
    Bad(
        "a device without a domain",
        priced("accelerators: [{resourceName: gpu, price: '2'}]"),
        "resourceName must be a device's name with its domain",
    ),
    Bad("both a whole node and its parts", priced("node: '1', cpu: '1'"), EITHER),
    Bad("neither", priced(""), EITHER),
    Bad("parts that are none", priced("accelerators: []"), EITHER),
    Bad("no currency", "{nodes: [{name: a, price: {node: '1'}}]}"),
    Bad("a currency that is none", "{currency: usd, nodes: [{name: a, price: {node: '1'}}]}", CURRENCY),
    Bad("nothing priced", "{currency: USD}", "a book must price something: at least one of nodes, or fallback"),
    Bad("one name twice", "{currency: USD, nodes: [{name: a, price: {node: '1'}}, {name: a, price: {node: '2'}}]}"),
    Bad(
        "a label that is none",
        "{currency: USD, fallback: {nodeLabel: 'a b'}}",
        "a key must be a name of at most 63 letters",
    ),
)

"""What a model will cost, in words: for `modelward-operator plan`, where nothing runs yet. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.plan.pod import resources_of
from modelward_operator.pricing.facts import Node, PriceBook, Unpriced
from modelward_operator.pricing.money import units
from modelward_operator.pricing.quote import Quote, quote
from modelward_operator.pricing.requests import requests_of

HOURS: Final = 730
"""In a month, on average: 365 days of 24 hours, divided by 12."""


def quoted(spec: ModelDeploymentSpec, nodes: Iterable[Node], books: Sequence[PriceBook]) -> Quote | Unpriced:
    """Return what one replica will cost at most."""
    asked = requests_of({"containers": [{"resources": resources_of(spec)}]})
    return quote(asked, spec.scheduling.node_selector, nodes, books)


def estimate(
    spec: ModelDeploymentSpec, replicas: int | None, nodes: Iterable[Node], books: Sequence[PriceBook]
) -> list[str]:
    """Return the price of a replica and of all, per hour and for a month; or why it is not known."""
    answer = quoted(spec, nodes, books)
    if isinstance(answer, Unpriced):
        return [f"not known: {answer}"]
    rate = answer.rate
    each = f"at most {units(rate.nano)} {rate.currency} per hour for a replica ({answer.source})"
    if replicas is None:
        return [each]
    hourly = rate.nano * replicas
    return [
        each,
        f"{units(hourly)} {rate.currency} per hour for {replicas}, {units(hourly * HOURS)} for a month of {HOURS} hours",
    ]

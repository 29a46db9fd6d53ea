"""`modelward-operator plan` and `kubectl modelward plan`: the children of a manifest, without a cluster. Called by both `cli.py`.

It uses the same pure code as a reconcile pass, with nothing live: what it prints is what a fresh apply would make, but for addresses
that only the cluster knows, which it says. ModelPolicies, PrivacyPolicies, Namespaces and ConfigMaps in the same file count as what lies
around the models; with a PriceBook in it, and perhaps Nodes, it says what they will cost. It is stricter than a pass over live objects in
one thing: a field that the kind does not have is an error.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from modelward_operator.api.crd import (
    NAME_RULE,
    is_model_name,
    modeldeployment_crd,
    modelpolicy_crd,
    pricebook_crd,
    privacypolicy_crd,
)
from modelward_operator.api.modeldeployment import KIND, ModelDeploymentSpec
from modelward_operator.api.modelpolicy import POLICY_KIND
from modelward_operator.api.parse import Invalid, parse, parse_book, parse_policy, parse_privacy
from modelward_operator.api.pricebook import BOOK_KIND
from modelward_operator.api.privacypolicy import PRIVACY_KIND
from modelward_operator.api.unknown import unknown_fields
from modelward_operator.facts import (
    Activator,
    Cost,
    Devices,
    Given,
    Installation,
    Json,
    Key,
    Plan,
    Policy,
    PrivacyPolicy,
    Surroundings,
)
from modelward_operator.plan import names
from modelward_operator.plan.certificate import is_managed
from modelward_operator.plan.devices import devices_for
from modelward_operator.plan.routes import FIRST_PORT
from modelward_operator.plan.settled import settled
from modelward_operator.policies.rooms import rule
from modelward_operator.policies.suspension.reasons import SUSPENDED
from modelward_operator.pricing.estimate import estimate, quoted
from modelward_operator.pricing.facts import Node, PriceBook, Unpriced
from modelward_operator.pricing.manifest import node_in_file
from modelward_operator.rulings import Ruling
from modelward_operator.status.devices import fits, supply

S = TypeVar("S")
OFFLINE_UID = "00000000-0000-0000-0000-000000000000"


def plan(options: argparse.Namespace) -> int:
    """Print the plan of each ModelDeployment of the file; return the exit status."""
    try:
        text = sys.stdin.read() if options.filename == "-" else Path(options.filename).read_text(encoding="utf-8")
        documents = [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]
    except OSError as error:
        return _wrong(options.filename, error.strerror, status=2)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        return _wrong(options.filename, f"not YAML: {error}")
    manifests = [document for document in documents if document.get("kind") == KIND]
    if not manifests:
        return _wrong(options.filename, f"no {KIND} in it")
    status, drawn = 0, list[Json]()
    for manifest in manifests:
        status |= _print_plan(manifest, documents, options, drawn)
    if options.output == "json":
        print(json.dumps({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": drawn}, indent=2))
    return status


def _wrong(what: str, message: object, status: int = 1) -> int:
    print(f"{what}: {message}", file=sys.stderr)
    return status


def _print_plan(
    manifest: dict[str, Any], documents: Iterable[Json], options: argparse.Namespace, drawn: list[Json]
) -> int:
    """Print one plan, or with -o json add it to `drawn`, the remarks on standard error; return its exit status."""
    metadata = manifest.get("metadata")
    name, namespace = (metadata.get("name"), metadata.get("namespace", "")) if isinstance(metadata, dict) else ("", "")
    if not is_model_name(name):
        return _wrong(options.filename, f"{NAME_RULE['message']}; it is {name!r}")
    if not isinstance(namespace, str):
        return _wrong(name, f"metadata.namespace must be text; it is {namespace!r}")
    installation = Installation(options.operator_namespace, options.runtime_image)
    try:
        given = offline(manifest, options.namespace, installation, documents)
        books = _books(documents)
        nodes = [node_in_file(document) for document in documents if document.get("kind") == "Node"]
    except ValueError as wrong:
        return _wrong(options.filename, wrong)
    spec = _strict(parse(manifest), manifest, modeldeployment_crd())
    if isinstance(spec, Invalid):
        for error in spec.errors:
            print(f"{given.key.name}: {error}", file=sys.stderr)
        return 1
    given = replace(given, cost=_cost(spec, nodes, books), devices=devices_for(spec, nodes) if nodes else Devices())
    ruling = rule(given, spec)
    made = settled(given, spec, ruling)
    aside = sys.stderr if options.output == "json" else sys.stdout
    for words in (*_remarks(given, spec, ruling, made), *_costs(spec, made, nodes, books)):
        print(f"# {words}", file=aside)
    drawn += (*made.ledgers, *made.objects)
    for planned in (*made.ledgers, *made.objects) if options.output == "yaml" else ():
        print("---")
        print(yaml.safe_dump(planned, sort_keys=False), end="")
    # A model that its owner suspended is as it should be.
    return int(any(verdict.reason != SUSPENDED for verdict in ruling.verdicts))


def offline(manifest: Json, namespace: str, installation: Installation, documents: Iterable[Json] = ()) -> Given:
    """Return the facts about a manifest that was never applied: nothing is live, and `documents` lie around it.

    Raises ValueError when a policy among them is wrong.
    """
    metadata = {"namespace": namespace, "uid": OFFLINE_UID, "generation": 1, **manifest.get("metadata", {})}
    return Given(
        key=Key(metadata["namespace"], metadata["name"]),
        raw={**manifest, "metadata": metadata},
        children=(),
        replica_sets=(),
        pods=(),
        installation=installation,
        now=datetime.now(UTC),
        around=_around(metadata["namespace"], documents),
        activator=Activator(ports=(FIRST_PORT, FIRST_PORT + 1)),
    )


def _around(namespace: str, documents: Iterable[Json]) -> Surroundings:
    labels: dict[str, str] = {names.NAMESPACE_NAME: namespace}
    policies, trust, privacy, claimants = [], {}, dict[str, PrivacyPolicy](), set[str]()
    for document in documents:
        kind, metadata = document.get("kind"), document.get("metadata")
        if not isinstance(metadata, dict):
            continue
        if kind == "Namespace" and metadata.get("name") == namespace:
            labels |= _map(metadata.get("labels"))
        elif kind == "Namespace" and _map(metadata.get("labels")).get(names.TENANT_LABEL) == namespace:
            claimants.add(str(metadata.get("name")))
        elif kind == "ConfigMap" and metadata.get("namespace", namespace) == namespace:
            trust[str(metadata.get("name"))] = {"data": _map(document.get("data"))}
        elif kind == POLICY_KIND:
            policies.append(
                Policy(str(metadata.get("name")), _valid(parse_policy(document), document, modelpolicy_crd()))
            )
        elif kind == PRIVACY_KIND and metadata.get("namespace", namespace) == namespace:
            name = str(metadata.get("name"))
            privacy[name] = PrivacyPolicy(name, 1, _valid(parse_privacy(document), document, privacypolicy_crd()))
    claimant = "" if labels.get(names.TENANT_LABEL) else min(claimants, default="")
    over = tuple(policy for policy in policies if policy.spec.selects(labels))
    return Surroundings(labels, over, trust, privacy, claimant)


def _remarks(given: Given, spec: ModelDeploymentSpec, ruling: Ruling, plan: Plan) -> Iterable[str]:
    """Say what the objects themselves do not."""
    yield from (f"{verdict.reason}: {verdict.message}" for verdict in sorted(ruling.verdicts))
    yield from (f"egress: {words}" for words in plan.egress)
    if given.devices.is_known:
        yield f"devices: {supply(given, spec)}"
        yield from (f"{found.reason}: {found.message}" for found in fits(given, spec, 0))
    if is_managed(spec):
        yield f"Secret {names.tls_name(given.key.name)}, and the ConfigMap of the CA: made by the operator"


def _cost(spec: ModelDeploymentSpec, nodes: Sequence[Node], books: Sequence[PriceBook]) -> Cost:
    """Return what a ModelPolicy with a maximum price looks at."""
    if not books:
        return Cost()
    answer = quoted(spec, nodes, books)
    if isinstance(answer, Unpriced):
        return Cost(unpriced=str(answer))
    return Cost(currency=answer.rate.currency, price=answer.rate.nano)


def _costs(spec: ModelDeploymentSpec, plan: Plan, nodes: Sequence[Node], books: Sequence[PriceBook]) -> Iterable[str]:
    """Say what the replicas cost; nothing without a PriceBook."""
    words = estimate(spec, plan.find("Deployment")["spec"].get("replicas"), nodes, books) if books else ()
    return (f"cost: {line}" for line in words)


def _books(documents: Iterable[Json]) -> list[PriceBook]:
    """Return the PriceBooks of the file. Raises ValueError when one is wrong."""
    found = [document for document in documents if document.get("kind") == BOOK_KIND]
    return [
        PriceBook(str(document["metadata"].get("name")), _valid(parse_book(document), document, pricebook_crd()))
        for document in found
        if isinstance(document.get("metadata"), dict)
    ]


def _valid(spec: S | Invalid, document: Json, crd: Json) -> S:
    strict = _strict(spec, document, crd)
    if isinstance(strict, Invalid):
        raise ValueError(f"{document['kind']} {document['metadata'].get('name')}: {strict}")  # noqa: TRY004  the manifest is wrong
    return strict


def _strict(spec: S | Invalid, document: Json, crd: Json) -> S | Invalid:
    """Return the spec, or its errors together with the fields that the kind does not have."""
    errors = unknown_fields(document, crd)
    if isinstance(spec, Invalid):
        return Invalid((*errors, *spec.errors))
    return Invalid(errors) if errors else spec


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

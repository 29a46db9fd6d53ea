"""The command `modelward-operator`: `run` in the cluster, `plan` on anybody's machine.

`plan` uses the same pure code as a reconcile pass, with nothing live: what it prints is what a fresh apply would make, but for addresses
that only the cluster knows, which it says. ModelPolicies, PrivacyPolicies, Namespaces and ConfigMaps in the same file count as what lies
around the models. It is stricter than a pass over live objects in one thing: a field that the kind does not have is an error.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml

from modelward_operator.api.crd import NAME_RULE, modeldeployment_crd, modelpolicy_crd, privacypolicy_crd
from modelward_operator.api.modeldeployment import KIND, NAME_MAX_LENGTH
from modelward_operator.api.modelpolicy import POLICY_KIND
from modelward_operator.api.parse import Invalid, parse, parse_policy, parse_privacy
from modelward_operator.api.privacypolicy import PRIVACY_KIND
from modelward_operator.api.unknown import unknown_fields
from modelward_operator.facts import Given, Installation, Json, Key, Policy, PrivacyPolicy, Surroundings
from modelward_operator.plan import names
from modelward_operator.plan.certificate import is_managed
from modelward_operator.plan.draw import draw
from modelward_operator.plan.egress import egress
from modelward_operator.policies.rooms import rule
from modelward_operator.policies.suspension.reasons import SUSPENDED

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
S = TypeVar("S")
OFFLINE_UID = "00000000-0000-0000-0000-000000000000"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 done, 1 the manifest is wrong or the model may not serve, 2 the arguments are."""
    parser = argparse.ArgumentParser(prog="modelward-operator", description="The Kubernetes operator of ModelWard.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run", help="run the operator; configured by environment variables, see operator/ARCHITECTURE.md"
    )
    plan = commands.add_parser("plan", help="print the children that a ModelDeployment would get; needs no cluster")
    plan.add_argument("-f", "--filename", required=True, help="manifest file, or - for standard input")
    plan.add_argument("-n", "--namespace", default="default", help="namespace, where the manifest names none")
    plan.add_argument(
        "--runtime-image", default="modelward-runtime", help="serving image, where the manifest names none"
    )
    plan.add_argument(
        "--operator-namespace", default="modelward-system", help="namespace that may reach the admin port"
    )
    options = parser.parse_args(arguments)
    if options.command == "run":
        from modelward_operator.main import run  # noqa: PLC0415  kopf is slow to import, and `plan` needs none of it

        return run()
    return _plan(options)


def _plan(options: argparse.Namespace) -> int:
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
    status = 0
    for manifest in manifests:
        status |= _print_plan(manifest, documents, options)
    return status


def _wrong(what: str, message: object, status: int = 1) -> int:
    print(f"{what}: {message}", file=sys.stderr)
    return status


def _print_plan(manifest: dict[str, Any], documents: Iterable[Json], options: argparse.Namespace) -> int:
    metadata = manifest.get("metadata")
    name, namespace = (metadata.get("name"), metadata.get("namespace", "")) if isinstance(metadata, dict) else ("", "")
    if not isinstance(name, str) or len(name) > NAME_MAX_LENGTH or not NAME.fullmatch(name):
        return _wrong(options.filename, f"{NAME_RULE['message']}; it is {name!r}")
    if not isinstance(namespace, str):
        return _wrong(name, f"metadata.namespace must be text; it is {namespace!r}")
    installation = Installation(options.operator_namespace, options.runtime_image)
    try:
        given = offline(manifest, options.namespace, installation, documents)
    except ValueError as wrong:
        return _wrong(options.filename, wrong)
    spec = _strict(parse(manifest), manifest, modeldeployment_crd())
    if isinstance(spec, Invalid):
        for error in spec.errors:
            print(f"{given.key.name}: {error}", file=sys.stderr)
        return 1
    ruling = rule(given, spec)
    for verdict in sorted(ruling.verdicts):
        print(f"# {verdict.reason}: {verdict.message}")
    for words in egress(given, spec, ruling).words:
        print(f"# egress: {words}")
    if is_managed(spec):
        print(f"# Secret {names.tls_name(given.key.name)}, and the ConfigMap of the CA: made by the operator")
    plan = draw(given, spec, ruling)
    for planned in (*plan.ledgers, *plan.objects):
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


if __name__ == "__main__":
    sys.exit(main())

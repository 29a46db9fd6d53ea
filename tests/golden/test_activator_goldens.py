"""The activator's table of every manifest that may be at zero: routes, and who may connect. `make golden` rewrites it.

tests/integration applies it to a real API server, and tests/contract parses it with the activator's own parser.
"""

from dataclasses import replace

import yaml

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Activator, Authority, Key, Route
from modelward_operator.offline import offline
from modelward_operator.plan.draw import draw, marked
from modelward_operator.plan.names import ACTIVATOR
from modelward_operator.plan.routes import PORTS, by_shard, drawn
from modelward_operator.policies.rooms import rule
from tests.golden.test_plan_goldens import HERE, INSTALLATION, MANIFESTS

GOLDEN = HERE / "activator" / "table.yaml"
OWNER = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "name": ACTIVATOR,
    "uid": "00000000-0000-0000-0000-000000000000",
}
AUTHORITY = Authority("-----BEGIN CERTIFICATE-----\nof the models' CA\n-----END CERTIFICATE-----\n")


def routes() -> dict[Key, Route]:
    found: dict[Key, Route] = {}
    for manifest in MANIFESTS:
        documents = [document for document in yaml.safe_load_all(manifest.read_text()) if document]
        for document in (document for document in documents if document["kind"] == "ModelDeployment"):
            given = offline(document, "default", INSTALLATION, documents)
            port = PORTS[len(found)]
            given = replace(given, activator=Activator((port, port + 1)), authority=AUTHORITY)
            spec = parse(given.raw)
            assert not isinstance(spec, Invalid), spec
            if route := draw(given, spec, rule(given, spec)).route:
                found[given.key] = route
    return found


def table() -> str:
    (shard,) = by_shard(routes()).values()
    objects = map(marked, drawn(INSTALLATION.namespace, 0, shard.values(), OWNER))
    return "".join("---\n" + yaml.safe_dump(one, sort_keys=False, width=100) for one in objects)


def test_the_table_of_the_manifests_is_its_golden(rewrite: bool) -> None:
    if rewrite:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(table())
    assert GOLDEN.read_text() == table()

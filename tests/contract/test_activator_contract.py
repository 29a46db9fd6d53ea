"""Every route that the operator's goldens hold is read by the activator's parser, and says there what the operator meant."""

import yaml

from modelward_operator.plan import names
from modelward_operator.plan.routes import FILE
from modelward_runtime.activator.config import Route, parse_routes
from modelward_runtime.activator.run import OURS, ROUTES
from tests.golden.test_activator_goldens import GOLDEN, routes

OBJECTS = list(yaml.safe_load_all(GOLDEN.read_text()))


def read() -> dict[str, Route]:
    texts = [one["data"][FILE] for one in OBJECTS if one["kind"] == "ConfigMap"]
    return {route.name: route for text in texts for route in parse_routes(text.encode())}


def test_the_operators_routes_are_read_by_the_activator() -> None:
    found = read()
    assert {key.name for key in routes()} == found.keys()
    assert {True, False} == {route.wake for route in found.values()}
    assert {True, False} == {route.tls is not None for route in found.values()}
    secured, stopped = found["scale-to-zero"], found["zero-suspended"]
    assert secured.tls is not None
    assert secured.tls.dns_names == ("scale-to-zero.default.svc", "scale-to-zero.default.svc.cluster.local")
    assert (90, 50, "fraud") == (secured.hold_seconds, secured.max_held, secured.model.name if secured.model else "")
    assert stopped.refusal is not None
    assert (stopped.refusal.reason, stopped.wake) == ("Suspended", False)


def test_both_sides_call_things_by_the_same_names() -> None:
    (config_map,) = (one for one in OBJECTS if one["kind"] == "ConfigMap")
    label, _, value = ROUTES.partition("=")
    assert config_map["metadata"]["labels"][label] == value
    assert f"{names.MANAGED_BY}={names.MANAGER}" == OURS

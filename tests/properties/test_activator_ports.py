"""No two models share a port of the activator, and none changes it, whatever comes and goes, and whoever leads."""

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.cluster.ports import Ports
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Key
from tests.unit.test_ports import add_model, stored

NUMBERS = range(20000, 20012, 2)
NAMES = ("a", "b", "c", "d")
moves = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(("pass", "written", "gone", "leader"))), max_size=60)


@given(moves=moves)
def test_ports_are_a_models_own_for_as_long_as_it_has_them(moves: list[tuple[str, str]]) -> None:
    store = Store()
    ports = Ports(store, numbers=NUMBERS)
    has: dict[Key, tuple[int, int]] = {}
    written: set[Key] = set()
    for name, move in moves:
        key = Key("risk", name)
        if move == "gone":
            for kind, child in (("ModelDeployment", name), ("EndpointSlice", f"{name}-activator")):
                store.drop(stored(kind, "risk", child, name))
            has.pop(key, None)
            written.discard(key)
        elif move == "leader":
            ports = Ports(store, numbers=NUMBERS)
            has = {kept: pair for kept, pair in has.items() if kept in written}  # what never was written is forgotten
        else:
            add_model(store, name, "{},{}".format(*has[key]) if move == "written" and key in has else "")
            written |= {key} if move == "written" and key in has else set()
            given_out = ports.allot(key)
            assert given_out is not None, "there are more ports than models"
            assert has.get(key, given_out) == given_out
            has[key] = given_out
        assert len({number for pair in has.values() for number in pair}) == 2 * len(has)

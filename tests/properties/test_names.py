"""Two models of a namespace never want a child of one name: whatever the models are called, and whatever hash comes last."""

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.plan import names

PARTS = st.sampled_from(
    ["a", "policy", "tls", "boot", "predict", "spend", "access-review", "activator", "0123456789", "abcdefabcd"]
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("-".join).filter(lambda name: name[0].isalpha() and len(name) <= 50)
HASHES = st.sampled_from(["0123456789", "abcdefabcd"])


def children(name: str, content: str) -> set[tuple[str, str]]:
    """Every child that a model of that name can have."""
    config_maps = {
        names.policy_config_name(name),
        names.tls_name(name),
        f"{names.tls_name(name)}-{content}",
        names.boot_config_name(name, content),
    }
    roles = {names.predict_role_name(name), names.spend_role_name(name)}
    return {
        *(("ConfigMap", child) for child in config_maps),
        *(("Role", child) for child in roles),
        *(("RoleBinding", child) for child in (*roles, names.review_binding_name(name))),
        ("EndpointSlice", names.activator_slice_name(name)),
        ("Secret", names.tls_name(name)),
        *(
            (kind, name)
            for kind in ("ServiceAccount", "Service", "Deployment", "NetworkPolicy", "HorizontalPodAutoscaler")
        ),
    }


@given(one=NAMES, other=NAMES, first=HASHES, second=HASHES)
def test_models_share_no_child(one: str, other: str, first: str, second: str) -> None:
    assert one == other or not children(one, first) & children(other, second)


@given(name=NAMES, content=HASHES)
def test_a_child_s_name_is_one_that_its_kind_can_have(name: str, content: str) -> None:
    for kind, child in children(name, content):
        assert len(child) <= (63 if kind == "Service" else 253)
        assert child.strip("-") == child


@given(one=NAMES, other=NAMES, content=HASHES)
def test_what_a_model_may_take_back_is_what_it_can_have(one: str, other: str, content: str) -> None:
    mine, theirs = (
        {child for child in children(name, content) if child[0] in names.CHILD_KINDS} for name in (one, other)
    )
    assert {child for child in mine | theirs if names.may_be_child(*child, one)} == mine
    assert not any(names.may_be_child(kind, f"{name}-copy", one) for kind, name in mine)

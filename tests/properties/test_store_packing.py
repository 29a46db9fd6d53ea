"""What the store keeps of a body is that body again, whatever came before it, and never longer."""

import json

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.cluster.packing import LONGEST, Packer

WORDS = st.text(max_size=40) | st.sampled_from(["fraud", "modelward.dev/model", "0" * 300, "ab" * LONGEST])
OBJECTS = st.dictionaries(WORDS, WORDS | st.lists(WORDS, max_size=8) | st.integers(), max_size=12)
BODIES = OBJECTS.map(lambda value: json.dumps(value, ensure_ascii=False).encode())


@given(st.lists(st.tuples(st.sampled_from(["Service", "Pod"]), BODIES), max_size=12))
def test_every_body_comes_back_and_takes_no_more_than_it_is_long(bodies: list[tuple[str, bytes]]) -> None:
    packer = Packer()
    kept = [(kind, packer.pack(kind, body)) for kind, body in bodies]
    assert [packer.unpack(kind, packed) for kind, packed in kept] == [body for _, body in bodies]
    assert all(len(packed) <= len(body) for (_, packed), (_, body) in zip(kept, bodies, strict=True))


def test_what_differs_in_its_names_takes_little_of_its_length() -> None:
    packer = Packer()

    def body(name: str) -> bytes:
        env = [{"name": f"OPTION_{number}", "value": f"{number * 7919:x}"} for number in range(100)]
        return json.dumps({"kind": "Deployment", "metadata": {"name": name}, "spec": {"env": env}}).encode()

    first = packer.pack("Deployment", body("fraud-1"))
    packed = packer.pack("Deployment", body("churn-2"))
    assert first == body("fraud-1")
    assert len(packed) < len(first) / 20


def test_what_says_too_little_or_too_much_is_no_dictionary_for_the_others() -> None:
    packer = Packer()
    for text in ("short", "long" * LONGEST):
        body = json.dumps({"kind": "Pod", "text": text}).encode()
        assert packer.pack("Pod", body) == body

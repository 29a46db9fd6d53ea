"""The small reader and writer of P-256 public keys agrees with `cryptography`'s large one."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st

from modelward_runtime.store.sealed import spki

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEYS = st.integers(1, ORDER - 1).map(lambda number: ec.derive_private_key(number, ec.SECP256R1()).public_key())


def written(key: ec.EllipticCurvePublicKey, encoding: Encoding = Encoding.PEM) -> bytes:
    return key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


@given(KEYS)
def test_keys_are_written_and_read_as_others_do(key: ec.EllipticCurvePublicKey) -> None:
    assert (written(key), written(key, Encoding.DER)) == (spki.pem(key), spki.der(key))
    assert key == spki.read_pem(written(key))


@given(KEYS, st.data())
def test_what_was_changed_is_read_as_others_do_or_left_to_them(
    key: ec.EllipticCurvePublicKey, data: st.DataObject
) -> None:
    changed = bytearray(written(key))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.sampled_from(b"\n=-+/AZaz09 \r\0"))
    content = bytes(changed)[: data.draw(st.none() | st.integers(0, len(changed)))]
    try:
        expected = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        expected = None
    try:
        found = spki.read_pem(content)
    except ValueError:
        found = None
    assert found is None or found == expected


def test_other_keys_and_spellings_are_left_to_others() -> None:
    key = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    others = [
        written(ec.derive_private_key(7, ec.SECP384R1()).public_key()),
        written(ec.derive_private_key(7, ec.SECP256K1()).public_key()),
        written(key).replace(b"\n", b"\r\n"),
        written(key).rstrip(),
        b"a comment\n" + written(key),
        written(key) * 2,
        b"",
    ]
    assert [None] * len(others) == [spki.read_pem(other) for other in others]

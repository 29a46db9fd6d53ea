"""Tink itself, for tests: what it encrypts with a key of 32 bytes, and what it makes of a stream of ours."""

import io
from typing import Any, cast

import tink
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

streaming_aead.register()


class _Kept(io.BytesIO):
    """Tink closes what it writes to; the bytes are wanted afterwards."""

    content = b""

    def close(self) -> None:
        self.content = self.getvalue()
        super().close()


def encrypt(key: bytes, associated_data: bytes, plaintext: bytes) -> bytes:
    """A stream as Tink writes it."""
    target = _Kept()
    with _primitive(key).new_encrypting_stream(cast("Any", target), associated_data) as stream:
        stream.write(plaintext)
    return target.content


def decrypt(key: bytes, associated_data: bytes, ciphertext: bytes) -> bytes:
    """The plaintext; tink.TinkError when Tink refuses."""
    with _primitive(key).new_decrypting_stream(cast("Any", io.BytesIO(ciphertext)), associated_data) as stream:
        return bytes(stream.read())


def _primitive(key: bytes) -> streaming_aead.StreamingAead:
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=1 << 20, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    content = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=key, params=params)
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=content.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    entry = tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry])
    reader = tink.BinaryKeysetReader(keyset.SerializeToString())
    return cleartext_keyset_handle.read(reader).primitive(streaming_aead.StreamingAead)

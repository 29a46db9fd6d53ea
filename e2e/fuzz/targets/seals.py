"""Sealed models: whoever can write to the store can write any bytes into its files. Nothing but the very folder that was sealed opens."""

import atexit
import shutil
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag

from e2e.fuzz.draw import Draw
from e2e.fuzz.target import target
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed import bundle, keys, manifest, opening, stream
from modelward_runtime.store.sealed.decrypt import wipe
from tests.sealed_folders import Sealed, make_sealed

_HOME = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
_FILES = {"a/small.bin": b"a file of one short segment", "model.onnx": b"another", "tail.bin": b""}
_SEALED: Sealed = make_sealed(_HOME, _FILES)
_NAMES = ("manifest.json", "model.sig", "keys.json", "keys.sig", "data/0", "data/1", "data/2")
_WHOLE = {name: (_SEALED.folder / name).read_bytes() for name in _NAMES}
_DIGEST = manifest.digest(_WHOLE["manifest.json"])
_WORDS = [
    b'"path"',
    b'"sha256"',
    b'"size"',
    b"/",
    b"..",
    b"\\u0061",
    b" ",
    b"\xef\xbb\xbf",
    b"[" * 1500,
    b"1e3",
    b"9223372036854775808",
    b"==",
]


def _refused(error: LoadError) -> None:
    assert error.permanent
    assert error.message.isprintable(), error.message
    assert 10 < len(error.message) < 3000


@target("manifest", seeds=[_WHOLE["manifest.json"], b'{"a":' + b"[" * 1900], words=_WORDS, runs=1000)
def read_manifest(data: bytes) -> None:
    """manifest.json has one spelling, and names files that stay in their folder."""
    try:
        found = manifest.parse(data)
    except LoadError as error:
        assert error.reason == LoadReason.SEAL_INVALID
        _refused(error)
        return
    for file in found.files:
        assert not {"", ".", ".."} & set(file.path.split("/"))
        assert file.size == stream.ciphertext_size(file.plaintext_size)


@target("keys", seeds=[_WHOLE["keys.json"], b'{"a":' + b"[" * 1900], words=_WORDS, runs=1000)
def read_keys(data: bytes) -> None:
    """keys.json has one spelling, and is this manifest's."""
    try:
        wrapped = keys.parse(data, _DIGEST)
    except LoadError as error:
        assert error.reason == LoadReason.SEAL_INVALID
        _refused(error)
        return
    assert 1 <= len(wrapped) <= keys.MOST_KEYS


@target("bundle", seeds=[_WHOLE["model.sig"], _WHOLE["keys.sig"], b'{"a":' + b"[" * 1900], words=_WORDS, runs=1000)
def read_bundle(data: bytes) -> None:
    """A signature's file has one spelling: what is read is written the same."""
    try:
        found = bundle.read(data, "model.sig")
    except LoadError as error:
        assert error.reason == LoadReason.SIGNATURE_INVALID
        _refused(error)
        return
    assert bundle.write(found) == data


@target(
    "folder", seeds=[bytes([n]) + _WHOLE[name] for n, name in enumerate(_NAMES)], words=_WORDS, longest=6000, runs=250
)
def open_folder(data: bytes) -> None:
    """A folder of which one file was changed is refused with a reason of the contract; only the sealed one opens."""
    name, content = _NAMES[Draw(data).number(len(_NAMES) - 1)], data[1:]
    file = _SEALED.folder / name
    file.write_bytes(content)
    try:
        checked = opening.check(_SEALED.folder, _SEALED.expected)
        buffers = opening.decrypt(checked, opening.unwrap(checked, _SEALED.kek).data_key, threads=1)
    except LoadError as error:
        _refused(error)
        return
    finally:
        file.write_bytes(_WHOLE[name])
    opened = {path: bytes(buffer) for path, buffer in buffers.items()}
    wipe(buffers.values())
    assert opened == _FILES
    assert content == _WHOLE[name]


_KEY, _BOUND = bytes(32), b"bound"
_PLAIN = b"what is secret"


def _encrypted() -> bytes:
    parts: list[bytes] = []
    encryptor = stream.Encryptor(_KEY, _BOUND, parts.append, bytes)
    encryptor.write(_PLAIN)
    encryptor.finish()
    return b"".join(parts)


@target("stream", seeds=[_encrypted(), b""], words=[b"\x28", bytes(39)], runs=800)
def decrypt_stream(data: bytes) -> None:
    """A stream is the one that was encrypted, or is refused."""
    try:
        cipher = stream.StreamCipher(_KEY, _BOUND, data[: stream.HEADER])
        size = len(data) - stream.HEADER - stream.TAG
        if size < 0:
            return
        plain = bytearray(size)
        cipher.decrypt_into(stream.segment(0, size), memoryview(data)[stream.HEADER :], memoryview(plain))
    except (ValueError, InvalidTag):
        return
    assert bytes(plain) == _PLAIN

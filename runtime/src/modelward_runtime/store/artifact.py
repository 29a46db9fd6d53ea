"""The manifest of a model in a registry: an OCI image manifest (image-spec 1.1) whose layers are the model's files, one each.

`oci.py` reads one, `push.py` writes one. It must not do I/O. A layer's path is its annotation `org.opencontainers.image.title`, as
ORAS writes it, or ModelPack's `org.cncf.model.filepath`. Whoever can push chooses what stands here, so nothing of it is believed:
paths are checked, and archives, whose unpacking is a hazard of its own, are refused.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import check_paths, fetch_error
from modelward_runtime.store.remote import MOST_FILES, RemoteFile

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
SEALED_TYPE: Final = "application/vnd.modelward.sealed.v1"
MOST_BYTES: Final = 4 << 20  # of a manifest, which registries bound likewise
EMPTY: Final = b"{}"  # the config of an artifact that has none
_EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
_FILE_TYPE: Final = "application/octet-stream"
_TITLE: Final = "org.opencontainers.image.title"
_PATHS: Final = (_TITLE, "org.cncf.model.filepath")
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_ARCHIVE: Final = re.compile(r"[.+](tar|gzip|zstd)\b")


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a manifest says of a blob. Fields that we do not use are passed over, as the specification asks."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class Manifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An image manifest."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] = []


def parse(content: bytes, where: str) -> list[RemoteFile]:
    """The files of the artifact; LoadError InvalidModel says what cannot be a model."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(where, f"is no OCI image manifest: {error}") from error
    if manifest.schema_version != 2 or manifest.media_type not in {"", MANIFEST_TYPE}:
        raise _invalid(
            where,
            f"is {manifest.media_type or 'a manifest of another version'}, and only {MANIFEST_TYPE} holds a model: "
            "name one artifact, not an index of several or a container image",
        )
    if not manifest.layers or len(manifest.layers) > MOST_FILES:
        raise _invalid(where, f"has {len(manifest.layers)} layers; a model is of 1 to {MOST_FILES} files")
    files = [_file(layer, f"{where}, layer {number}") for number, layer in enumerate(manifest.layers)]
    check_paths([file.name for file in files], where, "layer")
    return files


def encode(layers: Sequence[Descriptor], config: Descriptor) -> bytes:
    """The manifest of a sealed model."""
    return msgspec.json.encode(Manifest(2, MANIFEST_TYPE, SEALED_TYPE, config, list(layers)))


def describe(digest: str, size: int, name: str = "") -> Descriptor:
    """A file's descriptor, or without a name that of the empty config."""
    return Descriptor(
        _FILE_TYPE if name else _EMPTY_TYPE, f"sha256:{digest}", size, annotations={_TITLE: name} if name else {}
    )


def _file(layer: Descriptor, where: str) -> RemoteFile:
    digest = _DIGEST.fullmatch(layer.digest)
    if digest is None or layer.size < 0:
        raise _invalid(where, f"has the digest {layer.digest[:80]!r} and {layer.size} bytes; a digest must be sha256:…")
    if _ARCHIVE.search(layer.media_type):
        raise _invalid(
            where,
            f"is an archive ({layer.media_type[:80]}), and nothing is unpacked here: push the model's files themselves, a layer each, as "
            "`oras push` does with files and `modelward seal` with all",
        )
    name = next((layer.annotations[key] for key in _PATHS if key in layer.annotations), "")
    if not name:
        raise _invalid(where, f"has no annotation {_TITLE}, which says the file's path")
    return RemoteFile(layer.digest, name, layer.size, digest[1])


def _invalid(where: str, why: str) -> LoadError:
    return fetch_error(LoadReason.INVALID_MODEL, f"{where} {why}")

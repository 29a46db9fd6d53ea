"""Reads a model's URI and picks the model file of a folder.

Called by `fetch.py`. It must not do I/O: what lies in the folder is handed to it, so that the same rule decides on a
bucket's listing, before a byte is fetched, and on a volume.
"""

import re
from collections.abc import Collection
from typing import ClassVar

import msgspec

from modelward_runtime.errors import LoadError, LoadReason

_SHOWN = 5
_USE = "use s3://BUCKET/PATH, oci://REGISTRY/REPOSITORY:TAG or pvc://CLAIM/PATH"
_OCI = re.compile(
    r"(?P<registry>[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?)"
    r"/(?P<repository>[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(:(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)  # the names are those of the OCI distribution specification, 1.1


class S3Location(msgspec.Struct, frozen=True):
    """`s3://BUCKET/KEY`: one object when the key ends in .onnx, else everything below it."""

    bucket: str
    key: str
    single: bool

    @property
    def uri(self) -> str:
        """As a person writes it."""
        return f"s3://{self.bucket}/{self.key}" + ("" if self.single or not self.key else "/")


class OciLocation(msgspec.Struct, frozen=True):
    """`oci://REGISTRY/REPOSITORY:TAG` or `…@sha256:…`: one artifact of a registry, which is always a folder."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""  # of the artifact's manifest; counts before the tag
    single: ClassVar[bool] = False

    @property
    def uri(self) -> str:
        """As a person writes it."""
        tag, digest = f":{self.tag}" if self.tag else "", f"@{self.digest}" if self.digest else ""
        return f"oci://{self.registry}/{self.repository}{tag}{digest}"

    @property
    def reference(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag


Location = S3Location | OciLocation


def parse_uri(uri: str) -> Location:
    """Where a model is to be fetched; LoadError UnsupportedScheme for anything else than s3:// and oci://."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        return parse_s3(uri)
    if separator and scheme == "oci":
        return _parse_oci(uri, rest)
    wrong = f"the scheme {scheme!r} is not supported" if separator else "this is no URI"
    raise fetch_error(LoadReason.UNSUPPORTED_SCHEME, f"{uri}: {wrong}, {_USE}")


def _parse_oci(uri: str, rest: str) -> OciLocation:
    found = _OCI.fullmatch(rest)
    if found is None or not (found["tag"] or found["digest"]):
        raise fetch_error(
            LoadReason.MODEL_NOT_FOUND,
            f"{uri}: write oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:…, in lower case but for the tag",
        )
    return OciLocation(found["registry"], found["repository"], found["tag"] or "", found["digest"] or "")


def parse_s3(uri: str) -> S3Location:
    """Where an s3:// address lies; LoadError BucketNotFound when it names no bucket."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{uri}: the URI names no bucket")
    return S3Location(bucket, key.strip("/"), single=key.endswith(".onnx"))


def choose_model_file(names: Collection[str], where: str) -> str:
    """`model.onnx` at the top of the folder, or else the only .onnx there; LoadError names what was found instead."""
    if "model.onnx" in names:
        return "model.onnx"
    found = sorted(name for name in names if "/" not in name and name.endswith(".onnx"))
    if len(found) == 1:
        return found[0]
    if found:
        raise fetch_error(
            LoadReason.AMBIGUOUS_MODEL_FILE,
            f"{where} holds {len(found)} .onnx files ({_some(found)}) and none is model.onnx: "
            "rename one, or let the URI name the file",
        )
    raise fetch_error(LoadReason.NO_MODEL_FILE, f"{where} holds no model.onnx and no other .onnx; {_instead(names)}")


def fetch_error(reason: LoadReason, message: str, *, permanent: bool = True) -> LoadError:
    """A LoadError of the fetch stage."""
    return LoadError(reason, message, "fetch", permanent=permanent)


def _instead(names: Collection[str]) -> str:
    deeper = sorted(name for name in names if name.endswith(".onnx"))
    if deeper:
        return f"there is {_some(deeper)} further down: let the URI end at that folder"
    return f"found {_some(sorted(names))}" if names else "it is empty"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

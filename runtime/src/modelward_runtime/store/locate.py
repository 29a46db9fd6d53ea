"""Reads a model's URI and picks the model file of a folder.

Called by `fetch.py`. It must not do I/O: what lies in the folder is handed to it, so that the same rule decides on a
bucket's listing, before a byte is fetched, and on a volume.
"""

from collections.abc import Collection
from dataclasses import dataclass

from modelward_runtime.errors import LoadError, LoadReason

_SHOWN = 5


@dataclass(frozen=True)
class S3Location:
    """`s3://BUCKET/KEY`: one object when the key ends in .onnx, else everything below it."""

    bucket: str
    key: str
    single: bool

    @property
    def uri(self) -> str:
        """As a person writes it."""
        return f"s3://{self.bucket}/{self.key}" + ("" if self.single or not self.key else "/")


def parse_s3(uri: str) -> S3Location:
    """The bucket and key; LoadError UnsupportedScheme for anything else than s3://BUCKET/…"""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme != "s3":
        raise fetch_error(
            LoadReason.UNSUPPORTED_SCHEME,
            f"{uri}: the scheme {scheme!r} is not supported, use s3://BUCKET/PATH or pvc://CLAIM/PATH"
            if separator
            else f"{uri}: this is no URI, use s3://BUCKET/PATH or pvc://CLAIM/PATH",
        )
    bucket, _, key = rest.partition("/")
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

"""Reads a model's URI and picks the model file of a folder.

Called by `fetch.py`. It must not do I/O: what lies in the folder is handed to it, so that the same rule decides on a
bucket's listing, before a byte is fetched, and on a volume.
"""

import re
from collections.abc import Collection, Sequence
from typing import ClassVar

import msgspec

from modelward_runtime.errors import LoadError, LoadReason

_SHOWN = 5
_USE = "use s3://BUCKET/PATH, gs://BUCKET/PATH, https://HOST/PATH, oci://REGISTRY/REPOSITORY:TAG or pvc://CLAIM/PATH"
_NO_PATH = re.compile(r"[?#\\]|(^|/)[.][.]?([/;]|$)|%2[ef]|%5c", re.IGNORECASE)  # some servers read them as . or /
_HTTPS = re.compile(r"(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?)(?P<path>(/[!-~]*)?)", re.ASCII)
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
    scheme: ClassVar[str] = "s3"

    @property
    def uri(self) -> str:
        """As a person writes it."""
        return f"{self.scheme}://{self.bucket}/{self.key}" + ("" if self.single or not self.key else "/")


class GsLocation(S3Location, frozen=True):
    """`gs://BUCKET/KEY`: the same in Google Cloud Storage."""

    scheme: ClassVar[str] = "gs"


class HttpsLocation(msgspec.Struct, frozen=True):
    """`https://HOST/PATH.onnx`: one file. Any other path is a folder, which says itself what is in it (`site.py`)."""

    host: str
    path: str  # begins with a slash; that of a folder ends with one
    single: bool

    @property
    def uri(self) -> str:
        """As a person writes it."""
        return f"https://{self.host}{self.path}"


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


Location = S3Location | GsLocation | HttpsLocation | OciLocation


def parse_uri(uri: str) -> Location:
    """Where a model is to be fetched; LoadError UnsupportedScheme for what is no store."""
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "s3":
        return parse_s3(uri)
    if separator and scheme == "gs":
        return GsLocation(*_bucket_and_key(uri, rest))
    if separator and scheme == "https":
        return _parse_https(uri, rest)
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


def _parse_https(uri: str, rest: str) -> HttpsLocation:
    found = _HTTPS.fullmatch(rest)
    if found is None or _NO_PATH.search(found["path"]):
        raise fetch_error(
            LoadReason.MODEL_NOT_FOUND,
            f"{uri.partition('?')[0]}: write https://HOST/PATH without a user, a query, spaces, . or ..: credentials belong into a Secret",
        )
    path, single = found["path"] or "/", found["path"].endswith(".onnx")
    return HttpsLocation(found["host"], path if single or path.endswith("/") else f"{path}/", single)


def parse_s3(uri: str) -> S3Location:
    """Where an s3:// address lies; LoadError BucketNotFound when it names no bucket."""
    return S3Location(*_bucket_and_key(uri, uri.removeprefix("s3://")))


def _bucket_and_key(uri: str, rest: str) -> tuple[str, str, bool]:
    """The bucket, the key, and whether it is a single object."""
    bucket, _, key = rest.partition("/")
    if not bucket:
        raise fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{uri}: the URI names no bucket")
    return bucket, key.strip("/"), key.endswith(".onnx")


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


def check_paths(names: Sequence[str], where: str, what: str) -> None:
    """LoadError for what cannot be beside another; what would leave the folder is refused where it is written."""
    if len(set(names)) != len(names):
        raise fetch_error(LoadReason.INVALID_MODEL, f"{where} has two {what}s of the same path")
    folders = {name[:at] for name in names for at, sign in enumerate(name) if sign == "/"}
    if both := sorted(folders.intersection(names)):
        raise fetch_error(
            LoadReason.INVALID_MODEL, f"{where} has a {what} {both[0]!r} that is a file, and others below it"
        )


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

"""A small S3 client for the cluster's own bucket and for test uploads; no dependency, one signature.

    python3 s3.py put FILE_OR_FOLDER s3://BUCKET/PREFIX/
    python3 s3.py make-bucket BUCKET

Run inside the cluster's network by `put` and by `up`; endpoint and credentials come from the environment that `shell`
sets. Signature Version 4 as AWS documents it: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hashlib
import hmac
import http.client
import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from urllib.parse import quote, urlsplit

EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True)
class Store:
    """Where the object store is and who we are there."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    @classmethod
    def from_environment(cls) -> "Store":
        """As set by `shell`, or by the user for a store of their own."""
        wanted = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        absent = [name for name in wanted if not os.environ.get(name)]
        if absent:
            sys.exit(f"not set: {', '.join(absent)}")
        endpoint, access_key, secret_key = (os.environ[name] for name in wanted)
        return cls(endpoint, access_key, secret_key, os.environ.get("AWS_REGION", "us-east-1"))


def signature(store: Store, method: str, path: str, headers: dict[str, str], moment: datetime) -> str:
    """The Authorization header over these headers; `path` is already percent-encoded, there is no query."""
    names = ";".join(sorted(headers))
    canonical = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    request = "\n".join((method, path, "", canonical, names, headers["x-amz-content-sha256"]))
    scope = f"{moment:%Y%m%d}/{store.region}/s3/aws4_request"
    text = "\n".join(
        ("AWS4-HMAC-SHA256", f"{moment:%Y%m%dT%H%M%SZ}", scope, hashlib.sha256(request.encode()).hexdigest())
    )
    key = f"AWS4{store.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    proof = hmac.new(key, text.encode(), "sha256").hexdigest()
    return f"AWS4-HMAC-SHA256 Credential={store.access_key}/{scope}, SignedHeaders={names}, Signature={proof}"


def request(store: Store, method: str, path: str, body: BufferedReader | None = None) -> tuple[int, str]:
    """Send one signed request; the answer's status and text."""
    where = urlsplit(store.endpoint)
    digest, size = _measure(body)
    moment = datetime.now(UTC)
    encoded = quote(path)
    headers = {"host": where.netloc, "x-amz-content-sha256": digest, "x-amz-date": f"{moment:%Y%m%dT%H%M%SZ}"}
    headers["authorization"] = signature(store, method, encoded, headers, moment)
    connection = _connect(where.scheme, where.netloc)
    try:
        connection.request(method, encoded, body=body, headers={**headers, "content-length": str(size)})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _measure(body: BufferedReader | None) -> tuple[str, int]:
    if body is None:
        return EMPTY, 0
    digest = hashlib.file_digest(body, "sha256").hexdigest()
    size = body.tell()
    body.seek(0)
    return digest, size


def _connect(scheme: str, netloc: str) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context(cafile=os.environ.get("S3_CA_FILE"))
        return http.client.HTTPSConnection(netloc, timeout=60, context=context)
    return http.client.HTTPConnection(netloc, timeout=60)


def make_bucket(store: Store, bucket: str) -> None:
    """Create the bucket; one that is ours already is fine."""
    status, text = request(store, "PUT", f"/{bucket}")
    if status != 200 and "BucketAlreadyOwnedByYou" not in text:
        sys.exit(f"making bucket {bucket}: HTTP {status}: {text}")


def put(store: Store, source: Path, target: str) -> int:
    """Upload a file, or all files below a folder; returns how many."""
    where = urlsplit(target)
    if where.scheme != "s3" or not where.netloc:
        sys.exit(f"not an s3://BUCKET/PREFIX/ address: {target}")
    make_bucket(store, where.netloc)
    count = 0
    for file, key in objects(source, where.path.lstrip("/")):
        with file.open("rb") as body:
            status, text = request(store, "PUT", f"/{where.netloc}/{key}", body)
        if status != 200:
            sys.exit(f"uploading {file} to {key}: HTTP {status}: {text}")
        count += 1
    return count


def objects(source: Path, prefix: str) -> Iterator[tuple[Path, str]]:
    """Each file with its key: a prefix that ends in a slash is a folder, any other names the one file."""
    if source.is_file():
        yield source, prefix + source.name if prefix == "" or prefix.endswith("/") else prefix
    elif source.is_dir():
        folder = prefix if prefix == "" or prefix.endswith("/") else prefix + "/"
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            yield file, folder + file.relative_to(source).as_posix()
    else:
        sys.exit(f"no such file or folder: {source}")


def main(arguments: list[str]) -> None:
    """Run one of the two commands."""
    store = Store.from_environment()
    match arguments:
        case ["put", source, target]:
            print(f"{put(store, Path(source), target)} file(s) at {target}")
        case ["make-bucket", bucket]:
            make_bucket(store, bucket)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])

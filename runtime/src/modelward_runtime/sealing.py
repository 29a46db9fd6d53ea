"""The commands that make and change sealed models: `modelward seal` and `modelward rewrap`.

`main.py` calls one function per command, with parsed arguments; each returns the exit code. What a sealed folder is, is
`store/sealed/`'s business; what to ask a person and tell it, is here.
"""

import argparse
import contextlib
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelward_runtime import keyfiles, onnxfile
from modelward_runtime.config import S3, Gs
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.saying import FAILED, complain, say
from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.locate import (
    GsLocation,
    HttpsLocation,
    S3Location,
    choose_model_file,
    fetch_error,
    parse_uri,
)
from modelward_runtime.store.s3 import Bucket
from modelward_runtime.store.sealed import keys, opening, writing
from modelward_runtime.store.sealed.folder import listing
from modelward_runtime.store.sealed.refusals import refuse, seal_invalid
from modelward_runtime.store.sealed.targets import Target, new_artifact, new_folder, new_prefix
from modelward_runtime.store.sealed.writing import Identity, Sealer, Source

_PIECE = 1 << 20
_STALL = 60.0  # seconds without an answer of the store
_MODEL = "model.onnx"  # the name of a single file in its sealed folder


def seal(arguments: argparse.Namespace) -> int:
    """Seal a file or folder."""
    source, destination = arguments.source, arguments.destination
    identity = Identity(arguments.tenant, arguments.name, arguments.model_version)
    try:
        kek = keyfiles.open_kek(arguments.kek, arguments.kek_id)
        sign_key, certificates = keyfiles.load_identity(arguments)
        sealer = Sealer(kek, kek.kek_id, sign_key, certificates=certificates)
        _try_key(identity, sealer)
        sources, size = _sources(source)
        with _Bar(size) as bar, _target(destination, arguments) as target:
            digest = writing.seal_into(target, sources, identity, sealer, bar.add)
    except (LoadError, OSError) as error:
        return complain(arguments, error, FAILED)
    told = {"folder": destination, "digest": digest, "tenant": identity.tenant, "model": identity.model}
    say(
        arguments,
        {**told, "version": identity.version, "kekId": sealer.kek_id},
        f"sealed {source} as {destination}\nspec.model.digest: {digest}",
    )
    return 0


def _try_key(identity: Identity, sealer: Sealer) -> None:
    """A key that cannot wrap, or may not, is found before the first byte is read, and not after the last. LoadError."""
    writing.check(identity)
    sealer.kek.wrap(secrets.token_bytes(keys.DATA_KEY_SIZE), bytes(32), identity.tenant)


def _target(destination: str, arguments: argparse.Namespace) -> contextlib.AbstractContextManager[Target]:
    if "://" not in destination:
        return new_folder(Path(destination))
    location = None if destination.startswith("pvc://") else parse_uri(destination)
    if location is None or isinstance(location, HttpsLocation):
        raise fetch_error(
            LoadReason.UNSUPPORTED_SCHEME,
            f"{destination}: seal into s3://BUCKET/PREFIX/, gs://BUCKET/PREFIX/ or oci://REGISTRY/REPOSITORY:TAG, or into a folder, "
            "and bring that to a web server or a volume as it is",
        )
    if isinstance(location, GsLocation):
        from modelward_runtime.store.gs import GoogleBucket  # noqa: PLC0415  for those who want it

        account = Gs(service_account_file=os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") or None)
        return new_prefix(GoogleBucket(location, account, arguments.ca_bundle, _STALL))
    if isinstance(location, S3Location):
        settings = S3(endpoint=arguments.s3_endpoint)
        return new_prefix(Bucket(location, settings, arguments.ca_bundle, _STALL))
    from modelward_runtime.store.push import Draft  # noqa: PLC0415  the client of registries, for those who want it

    endpoint = f"http://{location.registry}" if arguments.plain_http else None
    return new_artifact(Draft(location, endpoint, Path(arguments.ca_bundle) if arguments.ca_bundle else None, _STALL))


def rewrap(arguments: argparse.Namespace) -> int:
    """Wrap the data key of a sealed folder for another key-encryption key; only keys.json and keys.sig change."""
    folder = arguments.folder
    try:
        with writing.alone(folder):
            checked, wrapped = _rewrap(arguments)
    except (LoadError, OSError) as error:
        return complain(arguments, error, FAILED)
    told = [{"provider": key.provider, "kekId": key.kek_id, "kekVersion": key.kek_version} for key in wrapped]
    names = ", ".join(f"{key.kek_id} ({key.provider}, version {key.kek_version})" for key in wrapped)
    say(arguments, {"folder": str(folder), "digest": checked.digest, "keys": told}, f"{folder} now opens with {names}")
    return 0


def _rewrap(arguments: argparse.Namespace) -> tuple[opening.Checked, Sequence[WrappedKey]]:
    """The folder as it was found, and the keys that it is wrapped for now; LoadError, or OSError."""
    folder = arguments.folder
    sign_key, certificates = keyfiles.load_identity(arguments)
    trust = keyfiles.load_trusted(arguments.trust) | {"--sign-key": sign_key.public_key()}
    writing.finish_replacing(folder)
    checked = opening.check_signed(folder, trust)
    unwrapped = opening.unwrap(checked, keyfiles.open_kek(arguments.kek))
    kek = keyfiles.open_kek(arguments.new_kek, arguments.new_kek_id)
    sealer = Sealer(kek, kek.kek_id, sign_key)
    new = writing.wrap(checked.manifest_sha256, checked.manifest.tenant, unwrapped.data_key, sealer)
    kept = [key for key in checked.keys if arguments.keep_old and _name(key) != _name(new)]
    if len(kept) >= keys.MOST_KEYS:
        raise refuse(
            LoadReason.CONFIG_INVALID,
            f"{folder} is wrapped for {len(kept)} keys, and more than {keys.MOST_KEYS} are not possible: leave --keep-old away",
        )
    wrapped = [*kept, new]
    writing.replace_keys(folder, writing.keys_files(checked.manifest_sha256, wrapped, sign_key, certificates))
    return checked, wrapped


def _name(key: WrappedKey) -> tuple[str, str, str]:
    return key.provider, key.kek_id, key.kek_version


@dataclass(frozen=True)
class _File:
    """A file that is sealed as it is."""

    path: str
    file: Path

    def chunks(self) -> Iterator[bytes]:
        with self.file.open("rb", buffering=0) as source:
            while piece := source.read(_PIECE):
                yield piece


def _sources(source: Path) -> tuple[Sequence[Source], int]:
    """What to seal, each file as it is, and how many bytes it is."""
    if source.is_file():
        if onnxfile.check(source).external:
            raise seal_invalid(f"the weights of {source} are in files beside it: seal the folder, {source.parent}")
        return [_File(_MODEL, source)], source.stat().st_size
    names = dict(listing(source))
    if opening.is_sealed(names):
        raise seal_invalid(f"{source} is sealed already; `modelward rewrap` changes its key")
    onnxfile.check(source / choose_model_file(names, str(source)))
    return [_File(name, source / name) for name in names], sum(names.values())


class _Bar:
    """A progress bar on stderr, where that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total = max(total, 1)
        self._done = 0
        self._shown = 0.0
        self._begun = time.monotonic()
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")

    def add(self, count: int) -> None:
        """So many more bytes are done."""
        self._done += count
        now = time.monotonic()
        if not self._is_shown or now - self._shown < 0.1:
            return
        self._shown = now
        share = min(self._done / self._total, 1)
        rate = self._done / (now - self._begun + 1e-9) / 1e6
        sys.stderr.write(f"\rsealing [{'#' * int(share * 30):<30}] {share:4.0%}  {rate:.0f} MB/s\x1b[K")
        sys.stderr.flush()

"""The commands that look at a model without a key: `modelward verify` and `modelward inspect`.

`main.py` calls one function per command, with parsed arguments; each returns the exit code. `verify` trusts nothing that is not
signed; `inspect` shows what the files say, whether it is true or not, and says so.
"""

import argparse
from pathlib import Path
from typing import Any

from modelward_runtime import keyfiles
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.hardware import measure
from modelward_runtime.saying import FAILED, USAGE, complain, say
from modelward_runtime.store.kek import WrappedKey
from modelward_runtime.store.sealed import folder as folders
from modelward_runtime.store.sealed import keys, manifest, opening
from modelward_runtime.store.sealed.manifest import Manifest
from modelward_runtime.store.sealed.refusals import refuse
from modelward_runtime.store.sealed.signature import Signer, Trust


def verify(arguments: argparse.Namespace) -> int:
    """Is the folder whole and signed by someone trusted? 0 yes, 1 no, 2 it could not be tried."""
    try:
        trust = keyfiles.load_trusted(arguments.trust)
        next(arguments.folder.iterdir(), None)  # a folder that is not there is a wrong use, not a wrong model
        names = folders.listing(arguments.folder)
    except OSError as error:
        return complain(arguments, error, USAGE)
    except LoadError as error:
        return complain(arguments, error, USAGE if error.reason is LoadReason.CONFIG_INVALID else FAILED)
    try:
        told, text = _verified(arguments, trust, is_sealed=opening.is_sealed(names))
    except (LoadError, OSError) as error:
        return complain(arguments, error, FAILED)
    say(arguments, {"valid": True, **told}, text)
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    """Show what a sealed folder says about itself; nothing of it is verified."""
    folder: Path = arguments.folder
    try:
        next(folder.iterdir(), None)  # a folder that is not there is a wrong use, not a wrong model
        if not opening.is_sealed(folders.listing(folder)):
            raise refuse(LoadReason.SEAL_INVALID, f"{folder} is no sealed model: it holds no {manifest.NAME}")
        content = folders.read(folder, manifest.NAME, manifest.MOST_BYTES)
        found = manifest.parse(content)
        digest = manifest.digest(content)
        wrapped = keys.parse(folders.read(folder, keys.NAME, keys.MOST_BYTES), digest)
    except OSError as error:
        return complain(arguments, error, USAGE)
    except LoadError as error:
        return complain(arguments, error, FAILED)
    told = {"verified": False, **_manifest(found, digest, wrapped)}
    files = [
        {"path": f.path, "size": f.plaintext_size, "data": n}
        for f, n in zip(found.files, found.data_names, strict=True)
    ]
    text = [f"{key}: {value}" for key, value in told.items() if isinstance(value, str | int) and key != "verified"]
    text += [f"key: {key.kek_id} ({key.provider}, version {key.kek_version})" for key in wrapped]
    text += [f"  {file['data']}  {file['size']:>14,} bytes  {file['path']}" for file in files]
    say(arguments, {**told, "contents": files}, "\n".join([*text, "not verified: `modelward verify` does that"]))
    return 0


def _verified(arguments: argparse.Namespace, trust: Trust, *, is_sealed: bool) -> tuple[dict[str, Any], str]:
    folder: Path = arguments.folder
    narrowed = {"tenant": arguments.tenant, "model": arguments.name, "version": arguments.model_version}
    wanted = {field: value for field, value in narrowed.items() if value is not None}
    if not is_sealed:
        if wanted:
            raise refuse(
                LoadReason.SEAL_MISMATCH, f"{folder} is a plain folder, which is bound to no tenant, model or version"
            )
        signer = opening.verify_plain(folder, trust)
        return {"sealed": False, "signer": signer.told()}, f"{folder} is whole, plain, and signed by {_who(signer)}"
    checked = opening.check_signed(folder, trust)
    opening.match(checked.manifest, **wanted)
    opening.verify_data(checked, measure().threads)
    told = {"sealed": True, **_manifest(checked.manifest, checked.manifest_sha256, checked.keys)}
    told |= {"signer": checked.signer.told(), "keysSigner": checked.keys_signer.told()}
    found = checked.manifest
    return told, (
        f"{folder} is whole, sealed for tenant {found.tenant}, model {found.model}, version {found.version}, and signed by "
        f"{_who(checked.signer)}"
    )


def _manifest(found: Manifest, digest: str, wrapped: tuple[WrappedKey, ...]) -> dict[str, Any]:
    return {
        "digest": f"sha256:{digest}",
        "tenant": found.tenant,
        "model": found.model,
        "version": found.version,
        "files": len(found.files),
        "sizeBytes": sum(file.plaintext_size for file in found.files),
        "keys": [{"provider": k.provider, "kekId": k.kek_id, "kekVersion": k.kek_version} for k in wrapped],
    }


def _who(signer: Signer) -> str:
    return f"{'a certificate of ' if signer.authority else ''}{signer.name} ({signer.fingerprint})"

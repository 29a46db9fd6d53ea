"""Keys and sealed folders as a user makes them, by the command `modelward`; and the objects that a cluster needs of them."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from e2e.cases.manifests import NAME, Object

KEK, TRUST, SIGNER = "model-keys", "ci-signer", "ci"
MODELWARD: Final = Path(sys.executable).with_name("modelward")


@dataclass(frozen=True)
class Workshop:
    """A folder where keys are made and models are sealed."""

    folder: Path

    def kek(self, name: str = "k1") -> Path:
        """The file of a key-encryption key, made at the first call."""
        return self._made(self.folder / f"{name}.kek", "kek")

    def signing_key(self, name: str = SIGNER) -> Path:
        """The file of a signing key; its public key lies beside it."""
        return self._made(self.folder / f"{name}.pem", "signing")

    def audit_key(self, name: str = "audit") -> Path:
        """The file of a key that signs an audit log; its public key lies beside it."""
        return self._made(self.folder / f"{name}.pem", "audit")

    def seal(
        self,
        model: Path,
        tenant: str,
        name: str = NAME,
        version: str = "1",
        environment: Mapping[str, str] | None = None,
        **more: str,
    ) -> Path:
        """Seal a model; `more` overrides flags by their name, `_` for `-`, and leaves out those that are empty."""
        sealed = self.folder / f"{name}-{version}-{len(list(self.folder.iterdir()))}.sealed"
        flags = {"kek": str(self.kek()), "kek_id": "k1", "sign_key": str(self.signing_key())} | more
        identity = {"tenant": tenant, "name": name, "version": version}
        self.run("seal", [model, sealed], identity | flags, environment)
        return sealed

    def rewrap(self, sealed: Path, old: str, new: str, *, keep_old: bool = False) -> None:
        """Wrap the data key for another key."""
        keys = {"kek": str(self.kek(old)), "new_kek": str(self.kek(new)), "new_kek_id": new}
        flags = keys | {"sign_key": str(self.signing_key())}
        switches = ["--keep-old"] if keep_old else []
        self.run("rewrap", [sealed, *switches], flags)

    def run(
        self,
        command: str,
        arguments: Sequence[str | Path],
        flags: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run `modelward COMMAND`; what it prints. An error is told with its words."""
        options = [part for name, value in flags.items() if value for part in (f"--{name.replace('_', '-')}", value)]
        done = subprocess.run(
            [str(MODELWARD), command, *map(str, arguments), *options],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **(environment or {})},
        )
        assert done.returncode == 0, f"modelward {command}: {done.stderr}"
        return done.stdout

    def key_secret(self, *names: str) -> Object:
        """The Secret with key-encryption keys, one entry each."""
        data = {name: base64.b64encode(self.kek(name).read_bytes()).decode() for name in names or ("k1",)}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": KEK}, "data": data}

    def trust_map(self, signer: str = SIGNER) -> Object:
        """The ConfigMap with the signer's public key."""
        public = self.signing_key(signer).with_suffix(".pub.pem").read_text()
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TRUST}, "data": {"public.pem": public}}

    def _made(self, file: Path, kind: str) -> Path:
        if not file.exists():
            self.run("keygen", [kind], {"out": str(file)})
        return file


def security(key_ref: Object | None = None, **more: Any) -> Object:
    """What `spec.security` says of a sealed model."""
    return {
        "encryption": {"mode": "Required", "keyRef": key_ref or {"provider": "Secret", "name": KEK}},
        "verification": {"mode": "Required", "trust": [{"name": SIGNER, "keyRef": {"name": TRUST}}]},
    } | more


def flip(file: Path, at: int) -> None:
    """Change one bit of one byte."""
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def copy(folder: Path, name: str) -> Path:
    """A copy beside it, to be tampered with."""
    return Path(shutil.copytree(folder, folder.with_name(name)))

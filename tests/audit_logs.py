"""Audit logs for tests: made by the real journal and sinks, and read line by line."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelward_runtime.audit.auditor import Auditor
from modelward_runtime.audit.config import Audit
from modelward_runtime.audit.journal import Journal, Terms
from modelward_runtime.audit.keys import SigningKey, fingerprint
from modelward_runtime.audit.reading import head_of
from modelward_runtime.audit.records import Checkpoint, Prediction
from modelward_runtime.audit.verify import Verdict, verify
from modelward_runtime.config import Boot, ModelSource
from modelward_runtime.report import Report
from modelward_runtime.sinks.config import File
from modelward_runtime.sinks.file import FileSink
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.sink import Sink, Writer


@cache
def key(name: str = "audit") -> SigningKey:
    """A signing key that every test knows by its name."""
    private = Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"\0"))
    return SigningKey(private, fingerprint(private.public_key()))


def write_keys(folder: Path, name: str = "audit") -> tuple[Path, Path]:
    """The private and the public key as files."""
    private = key(name).private
    files = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    files[0].write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[1].write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return files


def prediction(number: int = 0, **changes: Any) -> Prediction:
    """A record of a call."""
    made = Prediction(
        subject=f"system:serviceaccount:shop:caller-{number % 3}",
        model="m",
        version="7",
        digest="sha256:" + "0" * 64,
        policy_generation="000000000001",
        decision="Allowed",
        code=200,
        reason="",
        transport="rest",
        request_bytes=number,
        response_bytes=2 * number,
        seconds=0.001,
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def checkpoint(
    cause: str = "Records", *, closing: bool = False, signer: str = "audit", records: int = 1000
) -> Checkpoint:
    """What a checkpoint says."""
    return Checkpoint(key(signer).fingerprint, cause, closing, records, 60)  # type: ignore[arg-type]


def terms(sink: Sink, *, longest: int = 1 << 20, records: int = 1000, signer: str = "audit") -> Terms:
    """What a policy would say."""
    return Terms(key(signer), sink, 0.0, longest, records, 60)


def journal_in(
    folder: Path, boot: str = "b1", *, pod: str = "pod", clock: Callable[[], float] | None = None, **more: Any
) -> Journal:
    """A journal on a directory, not begun."""
    writer = Writer(pod, boot)
    extra = {"clock": clock} if clock else {}
    return Journal(writer, terms(FileSink(folder, writer), **more), OutletMetrics("t", "t"), **extra)


async def write_log(
    folder: Path, boot: str = "b1", *, count: int = 20, pod: str = "pod", is_closed: bool = True, **more: Any
) -> None:
    """One start of a pod, with so many calls; it names what it finds, as the real one does."""
    journal = journal_in(folder, boot, pod=pod, **more)
    found = [head for line in FileSink(folder, Writer(pod, boot)).heads() if (head := head_of(line))]
    journal.begin(found)
    for number in range(count):
        journal.record("prediction", prediction(number))
    if is_closed:
        await journal.close(10)
    else:
        await journal._outlet.close(10)


def check(*paths: Path, signer: str = "audit", **more: Any) -> Verdict:
    """Verify files, or all files of directories."""
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    public = key(signer).private.public_key()
    return verify(files, {fingerprint(public): public}, **more)


def records(*paths: Path) -> list[dict[str, Any]]:
    """Every record, in the order of the files' names."""
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl")) if path.is_dir() else [path])]
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def files(folder: Path) -> list[Path]:
    """What lies in a directory, in order."""
    return sorted(folder.iterdir())


def kinds(found: Sequence[dict[str, Any]]) -> list[str]:
    """The last part of each record's type."""
    return [record["type"].rpartition(".")[2] for record in found]


BOOT = Boot(api_version="runtime/v1", kind="Boot", model=ModelSource(name="tiny", version="1", uri="s3://b/m.onnx"))


def auditor_on(
    journal: Journal | None, *, required: bool = True, durability: str = "Buffered", input_key: bytes = b""
) -> Auditor:
    """An auditor whose policy says this."""
    auditor = Auditor(Report(BOOT, "b", digest="sha256:" + "1" * 64, policy_generation="g1"))
    auditor.adopt(auditor_policy(durability, required=required), input_key)
    if journal:
        auditor.opened(journal)
    return auditor


def auditor_policy(durability: str, *, required: bool = True) -> Audit:
    """The section of a policy that says this."""
    return Audit(sink=File(directory="/audit"), signing_key_file="k", required=required, durability=durability)  # type: ignore[arg-type]


def lost_answer(real: Callable[..., Any]) -> Callable[..., None]:
    """A PUT that arrives, and whose answer does not."""

    def put(*given: Any, **named: Any) -> None:
        real(*given, **named)
        raise OSError("the answer got lost")

    return put

"""What a pod's report says about its model and its endpoint, held to what the status can take. Called by `summarise.py`, `protection.py`
and `endpoint.py`.

A report comes from a pod, which may be anything: texts are cut and cleaned, numbers must be numbers, times must be times. What has not
its form is left out, as if it had not been said.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from modelward_operator.facts import Json
from modelward_operator.status.diagnose import text

_FINGERPRINT: Final = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Seal:
    """What one pod says about signature and key of the model that it has loaded; empty where it says nothing."""

    signer: str = ""
    fingerprint: str = ""
    key_id: str = ""
    key_version: str = ""
    verified_time: str = ""
    encrypted: bool = False
    warning: str = ""

    def to_status(self) -> dict[str, Any]:
        """Return the fields of `status.model`."""
        found = {
            "signer": self.signer,
            "signerFingerprint": self.fingerprint,
            "keyId": self.key_id,
            "keyVersion": self.key_version,
            "verifiedTime": self.verified_time,
            "encrypted": self.encrypted,
        }
        return {name: value for name, value in found.items() if value}


def seal_of(report: Json) -> Seal:
    """Return what a report says about signature and key."""
    model = _map(report.get("model"))
    signer = _map(model.get("signer"))
    fingerprint = _word(signer.get("fingerprint"))
    named = bool(_FINGERPRINT.fullmatch(fingerprint))
    return Seal(
        signer=_word(signer.get("name")) if named else "",
        fingerprint=fingerprint if named else "",
        key_id=_word(model.get("keyId")),
        key_version=_word(model.get("keyVersion")),
        verified_time=_time(model.get("verifiedTime")),
        encrypted=model.get("encrypted") is True,
        warning=_word(model.get("verificationWarning")),
    )


@dataclass(frozen=True, slots=True)
class Access:
    """What one pod says about its endpoint; empty where it says nothing."""

    authentication: str = ""
    sha256: str = ""
    """Of the certificate that it serves, over the DER, in hex."""
    not_after: datetime | None = None


def access_of(report: Json) -> Access:
    """Return what a report says about authentication and the certificate served."""
    access = _map(report.get("access"))
    tls = _map(access.get("tls"))
    sha256, not_after = str(tls.get("sha256", "")), _time(tls.get("notAfter"))
    return Access(
        authentication=_word(access.get("authentication"))[:64],
        sha256=sha256 if _SHA256.fullmatch(sha256) else "",
        not_after=datetime.fromisoformat(not_after) if not_after else None,
    )


def loaded_model(report: Json) -> dict[str, Any]:
    """Return `status.model` as the report says it."""
    model = _map(report.get("model"))
    size = model.get("sizeBytes")
    digest = text(model.get("digest", ""), 512)
    found = {
        "digest": digest,
        "shortDigest": digest.removeprefix("sha256:")[:12],
        "version": text(model.get("version", ""), 512),
        "executionProvider": text(report.get("executionProvider", ""), 512),
    }
    fits = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63
    kept = {key: value for key, value in found.items() if value} | ({"sizeBytes": size} if fits else {})
    return kept | seal_of(report).to_status()


def _map(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    """Return a text or a whole number as text; anything else as nothing."""
    return text(value, 512) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _time(value: object) -> str:
    """Return a time in the one form that Kubernetes writes."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return ""
    try:
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return moment.replace(microsecond=0, tzinfo=None).isoformat() + "Z"

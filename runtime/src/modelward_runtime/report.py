"""What this process says about itself on GET /report, and in the termination log when it gives up.

Written by `load.py` and `serve.py`, read by `admin.py`; the operator turns it into status conditions, so every field is part
of the file contract `runtime/v1` (OPERATIONS.md, "The admin port"). It must not do I/O.

    Fetching ▶ Verifying ▶ Decrypting ▶ Loading ▶ WarmingUp ▶ Ready ▶ Draining      (Decrypting: a sealed model only)
        └────────┴────────────┴───────────┴──────────┴──▶ Failed (the process is about to exit 78 or 75)
"""

import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from modelward_runtime.config import API_VERSION, Boot
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.log import timestamp

if TYPE_CHECKING:
    from modelward_runtime.access.certificate import Pair

_LONGEST_MESSAGE = 2000  # characters
_TERMINATION_MESSAGE = 4096  # bytes that the kubelet keeps


class State(StrEnum):
    """Where the process is in its life."""

    FETCHING = "Fetching"
    VERIFYING = "Verifying"
    DECRYPTING = "Decrypting"
    LOADING = "Loading"
    WARMING_UP = "WarmingUp"
    READY = "Ready"
    DRAINING = "Draining"
    FAILED = "Failed"


_STAGES = {
    State.FETCHING: "fetch",
    State.VERIFYING: "verify",
    State.DECRYPTING: "decrypt",
    State.LOADING: "load",
    State.WARMING_UP: "warmUp",
}


class Report(msgspec.Struct):
    """The live value behind GET /report; `wall` and `clock` are seconds since the epoch and of a monotonic clock."""

    boot: Boot
    boot_id: str
    wall: Callable[[], float] = time.time
    clock: Callable[[], float] = time.monotonic
    state: State = State.FETCHING
    digest: str = ""
    size: int = 0
    verified: bool = False
    cached: bool = False
    signer: Mapping[str, str] | None = None  # name, fingerprint, authority
    verified_time: float = 0.0  # of the signature, seconds since the epoch
    verification_warning: str = ""
    key_id: str = ""  # of the key-encryption key, once it has opened the model
    key_version: str = ""
    encrypted: bool = False
    execution_provider: str = ""
    policy_generation: str = ""
    policy_digest: str = (
        ""  # SHA-256 of the bytes of policy.json that hold: whoever writes the file may name any generation
    )
    policy_failure: str = ""
    certificate: Mapping[str, str] | None = None  # of the model's ports
    obstacle: Callable[[], str] = lambda: ""  # why a loaded process must not be asked now
    audit: Callable[[], dict[str, Any] | None] = lambda: None
    epsilon: Callable[[], dict[str, Any] | None] = lambda: None  # what was spent of a privacy budget
    failure: dict[str, Any] | None = None
    stage_seconds: dict[str, float] = {}
    on_enter: Callable[[State], None] = lambda _: None
    _entered: float = 0.0
    _started: float = 0.0

    def __post_init__(self) -> None:
        self._entered = self.clock()
        self._started = self.wall()

    @property
    def loaded(self) -> bool:
        """The model is in memory and warm."""
        return self.state in {State.READY, State.DRAINING}

    def enter(self, state: State) -> None:
        """Go on to the next state; the time spent in a load stage is kept."""
        now = self.clock()
        stage = _STAGES.get(self.state)
        if stage:
            self.stage_seconds[stage] = round(self.stage_seconds.get(stage, 0.0) + now - self._entered, 6)
        self.state, self._entered = state, now
        if state is State.READY:
            self.failure = None
        self.on_enter(state)

    def fail(self, error: LoadError) -> None:
        """Remember the last load failure; a permanent one ends the process."""
        self.failure = {
            "stage": error.stage,
            "reason": str(error.reason),
            "message": error.message[:_LONGEST_MESSAGE],
            "permanent": error.permanent,
            "time": timestamp(self.wall()),
        }

    def show_certificate(self, pair: "Pair") -> None:
        """The model's ports show this one from now on."""
        self.certificate = pair.told
        if self.failure and self.failure["reason"] == LoadReason.SERVING_CERTIFICATE_UNUSABLE:
            self.failure = None

    def adopt(self, other: "Report") -> None:
        """Another model serves in the place of this one, and this is what its load reported."""
        self.digest, self.size, self.verified, self.cached = other.digest, other.size, other.verified, other.cached
        self.signer, self.verified_time = other.signer, other.verified_time
        self.verification_warning = other.verification_warning
        self.encrypted, self.key_id, self.key_version = other.encrypted, other.key_id, other.key_version
        self.execution_provider, self.stage_seconds = other.execution_provider, other.stage_seconds
        self.failure = None

    def model(self) -> dict[str, Any]:
        """What is known of the model."""
        model: dict[str, Any] = {
            "name": self.boot.model.name,
            "version": self.boot.model.version,
            "uri": self.boot.model.uri,
            "verified": self.verified,
        }
        if self.digest:
            model |= {"digest": self.digest, "sizeBytes": self.size, "cached": self.cached}
        return model | self._protection()

    def to_json(self) -> bytes:
        """The body of GET /report."""
        return msgspec.json.encode(
            {
                "apiVersion": API_VERSION,
                "kind": "Report",
                "boot": self.boot_id,
                "state": str(self.state),
                "model": self.model(),
                "executionProvider": self.execution_provider,
                "policyGeneration": self.policy_generation,
                "policyDigest": self.policy_digest,
                "policyFailure": self.policy_failure or None,
                "access": {"authentication": self._authentication(), "tls": self.certificate},
                "startedAt": timestamp(self._started),
                "stageSeconds": self.stage_seconds,
                "failure": self.failure,
                "audit": self.audit(),
            }
            | self._spending()
        )

    def _spending(self) -> dict[str, Any]:
        """What was spent of a privacy budget; nothing where there is none."""
        told = self.epsilon()
        return {"epsilon": told} if told else {}

    def _authentication(self) -> str:
        return self.boot.access.mode if self.boot.access else "None"

    def _protection(self) -> dict[str, Any]:
        """What is known about signature and encryption; nothing where it does not apply."""
        told: dict[str, Any] = {}
        if self.signer:
            told |= {"signer": dict(self.signer), "verifiedTime": timestamp(self.verified_time)}
        if self.verification_warning:
            told["verificationWarning"] = self.verification_warning[:_LONGEST_MESSAGE]
        if self.encrypted:
            told |= {"encrypted": True, "keyId": self.key_id, "keyVersion": self.key_version}
        return told


def termination_message(failure: Mapping[str, Any], uri: str) -> bytes:
    """The failure object plus `uri` as one line of JSON; the message is cut until the kubelet keeps all of it."""
    line = msgspec.json.encode({**failure, "uri": uri}) + b"\n"
    message = str(failure.get("message", ""))
    over = len(line) - _TERMINATION_MESSAGE
    return line if over <= 0 or not message else termination_message({**failure, "message": message[: -over - 1]}, uri)

"""One call on its way to its audit record: who calls, what was sent, how it ended. Never what was in it.

Made by `Auditor.begin`, filled by the transports and by `Exchange.infer`, closed by `audited`, which both transports put
around an inference.
"""

import asyncio
import hmac
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from modelward_runtime import tensors
from modelward_runtime.audit.records import Decision
from modelward_runtime.caller import Caller, ClientGone
from modelward_runtime.errors import ApiError, Busy
from modelward_runtime.model import Face
from modelward_runtime.pace import weigh
from modelward_runtime.states import Decoded

if TYPE_CHECKING:
    from modelward_runtime.audit.auditor import Auditor
    from modelward_runtime.audit.journal import Journal

T = TypeVar("T")
CLIENT_GONE: Final = 499  # as nginx says it: the caller left before its answer
_OFF_LOOP_BYTES: Final = 1 << 18


class Entry:
    """What is known of one call."""

    __slots__ = (
        "_auditor",
        "began",
        "input_hmac",
        "journal",
        "policy_generation",
        "request_bytes",
        "required",
        "subject",
        "synchronous",
        "transport",
    )

    def __init__(self, auditor: "Auditor", transport: str, journal: "Journal | None") -> None:
        self._auditor = auditor
        self.transport = transport
        self.required, self.synchronous = auditor.required, auditor.synchronous  # what it began under holds to its end
        self.policy_generation = auditor.policy_generation
        self.journal = journal  # where room for the record was set aside
        self.began = time.perf_counter()
        self.subject = ""
        self.request_bytes = 0
        self.input_hmac = ""

    @property
    def withholds(self) -> bool:
        """Its answer does not leave without its record."""
        return self.required and self.synchronous

    def identify(self, caller: Caller) -> None:
        """The door knows who calls."""
        self.subject = caller.subject

    def govern(self) -> None:
        """The rules that this call is held to are chosen now."""
        self.policy_generation = self._auditor.policy_generation

    @property
    def is_prompt(self) -> bool:
        """Nothing of it is waited for: its record is made later, and of its input nothing is remembered."""
        return not self.synchronous and not self._auditor.input_key

    async def hear(self, face: Face, decoded: Decoded) -> None:
        """Remember the input's HMAC, where the policy asks for it."""
        key = self._auditor.input_key
        if not key:
            return
        if weigh(decoded.inputs) <= _OFF_LOOP_BYTES:
            self.input_hmac = input_hmac(key, face, decoded)
        else:
            self.input_hmac = await asyncio.to_thread(input_hmac, key, face, decoded)


async def audited(
    auditor: "Auditor | None",
    transport: str,
    work: Callable[[Entry | None], Awaitable[T]],
    size: Callable[[T], int],
) -> T:
    """Do the work of one call and record how it ended, before anybody learns it. Raises what the work raises, or `Unavailable`."""
    if auditor is None:
        return await work(None)
    entry = auditor.begin(transport)
    try:
        answer = await work(entry)
    except (asyncio.CancelledError, ClientGone) as gone:
        auditor.end(entry, "Failed", CLIENT_GONE, "ClientGone" if isinstance(gone, ClientGone) else "Cancelled", 0)
        raise
    except (
        Busy
    ) as busy:  # as often as a caller likes, and without the model's work to slow them: folded, as strangers are
        auditor.fold(entry, busy)
        raise
    except Exception as error:
        entry.subject = entry.subject or getattr(error, "subject", "")
        await auditor.settle(auditor.end(entry, *outcome(error), 0))
        raise
    except BaseException:
        auditor.end(entry, "Failed", 500, "InternalError", 0)
        raise
    pending = auditor.end(entry, "Allowed", 200, "", size(answer))
    if pending is not None:
        await auditor.settle(pending)
    return answer


def outcome(error: Exception) -> tuple[Decision, int, str]:
    """Decision, status and stable reason of an error: its code, or else its name in `errors.py`."""
    if not isinstance(error, ApiError):
        return "Failed", 500, "InternalError"
    reason = error.code or ("InternalError" if type(error) is ApiError else type(error).__name__)
    return "Denied" if error.status < 500 else "Failed", error.status, reason


def input_hmac(key: bytes, face: Face, decoded: Decoded) -> str:
    """HMAC-SHA256, in hex, of the decoded input: the same for the same tensors, whatever they came in. AUDIT.md gives the bytes."""
    mac = hmac.new(key, digestmod="sha256")
    for spec in face.inputs:
        array = decoded.inputs.get(spec.name)
        if array is None:
            continue
        content = tensors.to_bytes(spec.datatype, array)
        for text in (spec.name.encode(), spec.datatype.encode()):
            mac.update(struct.pack("<Q", len(text)) + text)
        mac.update(struct.pack(f"<{2 + array.ndim}Q", array.ndim, *array.shape, len(content)))
        mac.update(content)
    return mac.hexdigest()

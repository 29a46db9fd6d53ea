"""The payload log: one record for a sample of answered calls.

`exchange.payloads`, None where no policy asks for one; made by `running.py`. It takes `Cleared` and `Released`, which only exist after
the privacy rules, so that nothing can reach it that the model or the caller may not see; `redact.py` then masks what personal data they
let through. Which calls are logged is chance: nothing that a caller sends moves it. What finds no room is counted and dropped: a payload
log is never in the way of an answer, so long texts are searched on a thread while the answer leaves.

    chance ▶ texts, whole ▶ personal data masked ▶ cut ▶ a line ▶ outlet
                              └ OFF_LOOP_TEXT or more: on a thread
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from modelward_runtime import bfloat16
from modelward_runtime.audit.chain import Stamps, source_of
from modelward_runtime.model import Array, Face, TensorSpec
from modelward_runtime.payloads.config import Logging
from modelward_runtime.payloads.redact import MOST_SEARCHED, NO_TEXTS, Elements, Texts, texts_of
from modelward_runtime.privacy.rules import OFF_LOOP_TEXT
from modelward_runtime.serving import Serving
from modelward_runtime.sinks.metrics import OutletMetrics
from modelward_runtime.sinks.outlet import Outlet
from modelward_runtime.sinks.sink import Sink, Writer
from modelward_runtime.states import Cleared, Released

TYPE: Final = "dev.modelward.payload"
MOST_WAITING: Final = 512  # records in memory, each of MOST_BYTES at most
MOST_SEARCHES: Final = (
    8  # long texts that are searched at once: the memory that they hold while their requests are gone
)
MOST_AT_ONCE: Final = 2 * MOST_SEARCHED  # characters of all of them
MOST_BYTES: Final = 65_536  # that the tensors of a record may take; what is over is cut, and says so
MOST_ELEMENTS: Final = 4096  # of a tensor
MOST_TEXT: Final = 1024  # characters of an element
_DAY: Final = 86_400.0
log = logging.getLogger(__name__)


class LoggedTensor(msgspec.Struct, omit_defaults=True, gc=False):
    """A tensor; `data` is flat, row-major, and may be cut."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Answered:
    """A call as it is logged: under the policy that held when it was answered."""

    number: int
    time: str
    generation: str
    redacted: bool
    face: Face
    cleared: Cleared
    released: Released
    seconds: float


class PayloadLog:
    """One writer's series of payload records."""

    def __init__(
        self,
        writer: Writer,
        report: Serving,
        metrics: OutletMetrics,
        chance: Callable[[], float] = random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source_of(writer.series)
        self._report = report
        self._metrics = metrics
        self._chance = chance
        self._stamps = Stamps(wall)
        self._number = self._filled = self._longest = self._searched = 0
        self._piece_began = time.monotonic()
        self._redacted = False
        self._share = 0.0
        self._outlet: Outlet | None = None
        self._searches: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Records that are not safe yet."""
        return len(self._searches) + (self._outlet.waiting if self._outlet else 0)

    def adopt(self, policy: Logging) -> None:
        """From now on this holds."""
        self._redacted = policy.mode == "Redacted"
        self._share = policy.sample_percent / 100

    def move(self, sink: Sink, linger: float, longest: int) -> Outlet | None:
        """Write there from now on; returns the outlet before, to be closed."""
        before, self._outlet = self._outlet, Outlet(sink, linger, self._metrics)
        self._longest, self._filled = longest, 0
        self._piece_began = time.monotonic()
        self._outlet.start()
        return before

    @property
    def policy_generation(self) -> str:
        """Of the policy in force: who is about to clear a call asks, and gives it back to `log`."""
        return self._report.policy_generation

    def log(self, face: Face, cleared: Cleared, released: Released, seconds: float, generation: str) -> None:
        """Log an answered call, if it is its turn. `generation` is that of the policy under which it was cleared."""
        if self._chance() >= self._share or self._outlet is None:
            return
        if self.waiting >= MOST_WAITING or len(self._searches) >= MOST_SEARCHES:
            self._metrics.lost += 1
            return
        texts = texts_of(cleared.inputs, released.outputs, MOST_ELEMENTS) if self._redacted else NO_TEXTS
        long = texts.characters >= OFF_LOOP_TEXT
        if long and self._searched + texts.characters > MOST_AT_ONCE:
            self._metrics.lost += 1
            return
        self._number += 1
        call = Answered(self._number, self._stamps.now(), generation, self._redacted, face, cleared, released, seconds)
        if not long:
            self._put(self._line(call, texts.redacted()))
            return
        self._searched += texts.characters
        search = asyncio.ensure_future(self._search(call, texts))
        self._searches.add(search)
        search.add_done_callback(self._searches.discard)

    def beat(self) -> None:
        """Once an hour: no piece longer than a day."""
        if self._outlet and self._filled and time.monotonic() - self._piece_began >= _DAY:
            self._turn(self._outlet)

    async def close(self, seconds: float) -> None:
        """Write what waits, and end."""
        if self._searches:
            await asyncio.wait(self._searches, timeout=seconds)
        if self._outlet:
            self._metrics.lost += await self._outlet.close(seconds)
            self._outlet = None

    def _turn(self, outlet: Outlet) -> None:
        outlet.turn()
        self._filled, self._piece_began = 0, time.monotonic()

    async def _search(self, call: Answered, texts: Texts) -> None:
        """Log a call whose texts are long. Nothing of it goes into the process's own log, whatever happens."""
        try:
            redacted = await asyncio.to_thread(texts.redacted)
        except Exception as error:  # noqa: BLE001  the answer has left: there is nobody to tell but the metrics and the log
            log.error("a call could not be logged", extra={"cause": type(error).__name__})  # noqa: TRY400  no values
            self._metrics.lost += 1
            return
        finally:
            self._searched -= texts.characters
        self._put(self._line(call, redacted))

    def _put(self, line: bytes) -> None:
        if self._outlet is None:
            self._metrics.lost += 1
            return
        if self._longest and self._filled >= self._longest:
            self._turn(self._outlet)
        self._filled += len(line)
        self._outlet.put(line)

    def _line(self, call: Answered, texts: Texts) -> bytes:
        room = MOST_BYTES if call.redacted else 0
        inputs, room = _tensors(call.face.inputs, call.cleared.inputs, texts.inputs, room)
        outputs, _ = _tensors(call.face.outputs, call.released.outputs, texts.outputs, room)
        event = {
            "specversion": "1.0",
            "id": str(call.number),
            "source": self._source,
            "type": TYPE,
            "time": call.time,
            "data": {
                "model": call.face.name,
                "version": call.face.version,
                "policyGeneration": call.generation,
                "mode": "Redacted" if call.redacted else "Metadata",
                "seconds": round(call.seconds, 6),
                "inputs": inputs,
                "outputs": outputs,
            },
        }
        return msgspec.json.encode(event) + b"\n"


def _tensors(
    specs: tuple[TensorSpec, ...], arrays: Mapping[str, Array], texts: Elements, room: int
) -> tuple[list[LoggedTensor], int]:
    """Tensors as they are logged, and the bytes of room that are left; no room from the start: no data."""
    wants_data = room > 0
    datatypes = {spec.name: spec.datatype for spec in specs}
    logged: list[LoggedTensor] = []
    for name, array in arrays.items():
        tensor = LoggedTensor(name, datatypes.get(name, ""), array.shape)
        if wants_data:
            items = texts[name] if array.dtype.hasobject else _numbers(tensor.datatype, array)
            tensor.data, room = _cut(items, max(room, 0))
            tensor.truncated = len(tensor.data) < array.size or any(
                isinstance(item, str) and len(item) > MOST_TEXT for item in items[: len(tensor.data)]
            )
        logged.append(tensor)
    return logged, room


def _numbers(datatype: str, array: Array) -> list[Any]:
    """The first elements, as a person reads them."""
    first = array.ravel()[:MOST_ELEMENTS]
    numbers: list[Any] = (bfloat16.widen(first) if datatype == "BF16" else first).tolist()
    return numbers


def _cut(items: Sequence[Any], room: int) -> tuple[list[Any], int]:
    """As many elements as there is room for. NaN and infinities, which JSON lacks, become null."""
    kept: list[Any] = []
    for item in items:
        element = item[:MOST_TEXT] if isinstance(item, str) else item
        if isinstance(element, float) and not np.isfinite(element):
            element = None
        room -= len(element.encode()) * 2 + 3 if isinstance(element, str) else 24
        if room < 0:
            break
        kept.append(element)
    return kept, room

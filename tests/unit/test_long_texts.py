"""Long texts under a rule for personal data: what a search holds in memory, and how many of them go on at once."""

import asyncio
import threading
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from modelward_runtime.caller import ANONYMOUS
from modelward_runtime.errors import DeadlineExceeded, PolicyViolated
from modelward_runtime.exchange import Exchange
from modelward_runtime.metrics import Metrics
from modelward_runtime.model import TensorSpec
from modelward_runtime.payloads.redact import Texts
from modelward_runtime.privacy.pii import fold, scan
from modelward_runtime.privacy.pii.replace import Replacement, hasher, mask, replace
from modelward_runtime.privacy.pii.scan import RECOGNISERS, Match
from modelward_runtime.privacy.searches import Searches
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.protobuf import GrpcCall
from modelward_runtime.stepping import Unfinished, take_first_step
from tests.privacy_policies import rules
from tests.runtime_models import echo
from tests.until import PATIENCE

MIB = 1 << 20
TEXT = echo(TensorSpec("s", "BYTES", (-1,)))
COSTLY = {
    "a character that stands for eighteen": "\ufdfa" * (MIB // 3),
    "one that stands for three, digits among them": "½" * (MIB // 2),
    "a single one of them": "x" * (MIB // 2) + "½" + "y" * (MIB // 2),
    "digits that could be anything": "1 " * (MIB // 2),
    "colons": ":" * MIB,
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_search_holds_a_few_times_what_it_reads(name: str) -> None:
    """It was 36 to 217 times."""
    text = COSTLY[name]
    fold.prepare()
    tracemalloc.start()
    try:
        scan.find([text], RECOGNISERS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (45 if "eighteen" in name else 30) * len(text.encode())


@pytest.mark.parametrize("text", ["::1 " * (MIB // 16), "pwd=aaaa " * (MIB // 36), "a@b.cc " * (MIB // 28)])
def test_what_is_full_of_findings_holds_no_more_of_them_than_there_may_be(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(scan, "MOST_FOUND", 100)
    tracemalloc.start()
    try:
        assert 1 == len(scan.find([text], RECOGNISERS))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * MIB  # those of a window; all of them took 23


def test_a_payload_records_texts_are_searched_in_a_few_times_their_memory() -> None:
    texts = Texts({"s": ["\ufdfa" * MIB]}, {}, MIB)
    fold.prepare()
    tracemalloc.start()
    try:
        assert texts.redacted().inputs == texts.inputs
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * MIB  # it was 449


def test_of_an_element_full_of_findings_all_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "MOST_FOUND", 100)
    few, many, other = "::1 " * 100, "::1 " * 101, "::1 jo@example.com " * 60
    assert 100 == len(scan.find([few], RECOGNISERS))
    assert [("IPAddress", 0, len(many))] == [(one.kind, one.start, one.end) for one in scan.find([many], RECOGNISERS)]
    assert {("IPAddress", len(other)), ("Email", len(other))} == {
        (one.kind, one.end) for one in scan.find([other], RECOGNISERS)
    }
    for replacement, shown in ((mask, "[IP_ADDRESS]"), (hasher(b"k" * 16), "[IP_ADDRESS:")):

        def put(one: Match, found: str, replacement: Replacement = replacement) -> str:
            return replacement(one.kind, found)

        (told,) = replace([many], scan.find([many], RECOGNISERS), RECOGNISERS, put)
        assert told.startswith(shown)
    step = rules(
        TEXT, input={"pii": [{"kinds": ["IPAddress"], "action": "Mask"}, {"kinds": ["Email"], "action": "Reject"}]}
    )
    with pytest.raises(PolicyViolated, match="holds Email"):
        step.clear(GrpcCall(_message([other])).decode(step.face).inputs)


def test_what_is_found_in_neighbouring_blocks_is_replaced_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_BLOCK", 40)
    elements = [f"n{number} jo{number}@example.com" if number % 3 else f"n{number}" for number in range(50)]
    masking = rules(TEXT, input={"pii": [{"kinds": ["Email"], "action": "Mask"}]})
    cleared = masking.clear(GrpcCall(_message(elements)).decode(masking.face).inputs)
    expected = [f"n{number} [EMAIL]" if number % 3 else f"n{number}" for number in range(50)]
    assert expected == cleared["s"].tolist()
    refusing = rules(TEXT, input={"pii": [{"kinds": ["Email"], "action": "Reject"}]})
    with pytest.raises(PolicyViolated, match=r"element 31\)"):
        refusing.clear(GrpcCall(_message(["x"] * 31 + ["jo@example.com"])).decode(refusing.face).inputs)


def _message(elements: list[str]) -> bytes:
    tensor = {"name": "s", "datatype": "BYTES", "shape": [len(elements)],
              "contents": {"bytes_contents": [element.encode() for element in elements]}}  # fmt: skip
    return bytes(pb.ModelInferRequest(model_name="tiny", inputs=[tensor]).SerializeToString())


class Work:
    """Searches that end when they are told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.going = 0
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> str:
        self.going += 1
        self._loop.call_soon_threadsafe(self.changed.set)
        assert self.go_on.wait(PATIENCE)
        return "done"


@pytest.fixture
async def work() -> AsyncIterator[Work]:
    made = Work()
    yield made
    made.go_on.set()


async def _until(work: Work, going: int) -> None:
    while work.going < going:
        await work.changed.wait()
        work.changed.clear()


async def test_as_much_text_is_searched_at_once_as_there_is_room_for(work: Work) -> None:
    loop, searches = asyncio.get_running_loop(), Searches(100)
    late = loop.time() + 30
    asked = [asyncio.ensure_future(searches.run(size, late, work)) for size in (60, 40, 10, 500, 1)]
    await _until(work, 2)
    assert (2, 100) == (work.going, searches.held)
    work.go_on.set()
    assert ["done"] * 5 == await asyncio.gather(*asked)
    assert 0 == searches.held


async def test_a_text_over_the_bound_is_searched_alone(work: Work) -> None:
    searches = Searches(100)
    asked = asyncio.ensure_future(searches.run(500, asyncio.get_running_loop().time() + 30, work))
    await _until(work, 1)
    with pytest.raises(DeadlineExceeded, match="before the text was searched"):
        await searches.run(1, asyncio.get_running_loop().time() + 0.01, work)
    work.go_on.set()
    assert "done" == await asked
    assert (1, 0) == (work.going, searches.held)


async def test_who_waits_needs_no_task_of_its_own_yet(work: Work) -> None:
    """A request's first step is taken in the turn that brought it."""
    searches, late = Searches(100), asyncio.get_running_loop().time() + 30
    asked = asyncio.ensure_future(searches.run(80, late, work))
    await _until(work, 1)
    loop, firsts = asyncio.get_running_loop(), list[object]()
    loop.call_soon(lambda: firsts.append(take_first_step(searches.run(80, late, work))))
    await asyncio.sleep(0)
    (first,) = firsts
    assert isinstance(first, Unfinished)
    work.go_on.set()
    assert ("done", "done") == (await asked, await first)
    assert 0 == searches.held


async def test_who_leaves_gives_room_back_when_the_thread_is_done(work: Work) -> None:
    searches = Searches(100)
    late = asyncio.get_running_loop().time() + 30
    first, second, third = (asyncio.ensure_future(searches.run(80, late, work)) for _ in range(3))
    await _until(work, 1)
    for one in (first, second):
        one.cancel()
    await asyncio.wait([first, second])
    assert 80 == searches.held, "its thread still has the text"
    assert 1 == work.going
    work.go_on.set()
    assert "done" == await third
    assert 0 == searches.held


async def test_a_turn_that_comes_to_who_was_just_cancelled_goes_to_the_next() -> None:
    searches = Searches(100)
    late = asyncio.get_running_loop().time() + 30
    await searches._enter(80, late)
    second, third = (asyncio.ensure_future(searches._enter(80, late)) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    searches._leave(80)  # before the second has woken to it
    await asyncio.wait([second])
    assert second.cancelled()
    await third
    assert 80 == searches.held
    searches._leave(80)
    assert 0 == searches.held


async def test_long_texts_of_an_endpoint_share_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = Exchange("tiny", "1", Metrics())
    exchange.serve(TEXT, None)
    exchange.govern(rules(TEXT, input={"pii": [{"kinds": ["Email"], "action": "Mask"}]}))
    monkeypatch.setattr(exchange, "_searches", searches := Searches(100))
    most = 0
    search = scan.find

    def seen(*given: object) -> object:
        nonlocal most
        most = max(most, searches.held)
        return search(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(scan, "find", seen)
    message = _message(["jo@example.com " * 5000])
    late = asyncio.get_running_loop().time() + 30
    answers = await asyncio.gather(*(exchange.infer(GrpcCall(message), ANONYMOUS, late) for _ in range(4)))
    assert all(b"[EMAIL] [EMAIL]" in b"".join(map(bytes, answer.parts)) for answer in answers)
    assert (len(message), 0) == (most, searches.held)
    exchange.close()

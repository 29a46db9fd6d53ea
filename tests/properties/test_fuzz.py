"""A fixed share of fuzzing for the quick ring: seeds, kept inputs, those that once broke something among them, and mutations."""

import time

import pytest

import e2e.fuzz.targets  # noqa: F401  registers them
from e2e.fuzz import bounds, corpus
from e2e.fuzz.bounds import Bounds, Costly
from e2e.fuzz.replay import Found, replay
from e2e.fuzz.target import TARGETS, Target


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_bytes_come_a_target_holds(name: str) -> None:
    target = TARGETS[name]
    assert replay(target) >= target.runs + len(target.seeds)


def test_the_same_inputs_are_tried_each_time() -> None:
    tried: list[list[bytes]] = []
    for _ in range(2):
        tried.append([])
        replay(Target("odd", tried[-1].append, "", [b"seed"], [], 100, 50))
    assert tried[0] == tried[1]
    assert len(set(tried[0])) > 30


def test_what_breaks_is_told_with_its_input() -> None:
    def run(data: bytes) -> None:
        assert b"{" not in data, "a brace"

    with pytest.raises(Found, match=r"odd, b'.*\{.*': AssertionError: a brace"):
        replay(Target("odd", run, "", [b"seed"], [], 100, 500))


def hold(megabytes: int) -> None:
    """Write to so much memory, and let it go."""
    bytearray(megabytes << 20).replace(b"\0", b"x", 1)


def within_bounds(seconds: float) -> None:
    """Compute for so long."""
    with Bounds():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass


def test_what_takes_too_long_or_too_much_breaks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "SECONDS", 0.001)
    with pytest.raises(Costly, match="of a processor"):
        within_bounds(0.01)
    monkeypatch.setattr(bounds, "SECONDS", 100)
    monkeypatch.setattr(bounds, "MEGABYTES", 16)
    hold(96)
    within_bounds(0)
    with pytest.raises(Costly, match="MiB"), Bounds():
        hold(64)  # it is let go, and one before it was larger


def test_every_kept_file_is_a_target_s() -> None:
    assert {file.stem for file in corpus.FOLDER.glob("*.txt")} <= set(TARGETS)
    for name in TARGETS:
        assert all(len(one) <= TARGETS[name].longest for one in corpus.load(name)), name

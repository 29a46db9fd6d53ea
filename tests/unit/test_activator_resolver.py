"""Names of token issuers: one tenant's that hang stop no other tenant's, and not for ever its own."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward_runtime.activator.resolver import Resolver
from tests.loop_clock import LATER, in_the_end
from tests.until import PATIENCE


def test_name_servers_of_one_tenant_that_are_silent_keep_nobody_elses_door_shut(tmp_path: Path) -> None:
    """The real lookups of the C library, at a real socket that never answers: uvloop had two threads for them."""
    apart = ["unshare", "--map-root-user", "--mount", "--net"]
    told = subprocess.run(
        [*apart, sys.executable, "-m", "tests.silent_names", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if "unshare:" in told.stderr:
        pytest.skip(f"this machine makes no namespaces: {told.stderr}")
    assert 0 == told.returncode, told.stderr
    found = json.loads(told.stdout)
    assert (True, 2) == (found["asked"], found["hanging"])
    assert found["waited"] < PATIENCE, "of twice the time that a fetch of keys may take there"


async def test_a_name_is_looked_up_and_what_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("modelward_runtime.activator.resolver.LOOKUP", PATIENCE)
        assert "127.0.0.1" in await Resolver().find("risk", "localhost")
    for wrong in ("no-such-host.invalid", "a" * 300):
        with pytest.raises(OSError):
            await Resolver().find("risk", wrong)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Lookups of `slow…` hang until the event; others answer."""
    answers = threading.Event()

    def resolve(host: str) -> list[str]:
        if host.startswith("slow"):
            answers.wait(PATIENCE)
        return ["192.0.2.1"]

    monkeypatch.setattr("modelward_runtime.activator.resolver._resolve", resolve)
    monkeypatch.setattr("modelward_runtime.activator.resolver.LOOKUP", LATER)
    yield answers
    answers.set()


async def test_a_namespace_has_one_lookup_under_way_and_its_turn_comes_back_when_that_has_ended(
    slow: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver, others = Resolver(), set(threading.enumerate())
    names = [resolver.find("evil", f"slow{number}.evil.example") for number in range(300)]
    outcomes = [str(outcome) for outcome in await in_the_end(monkeypatch, *names)]
    assert "name servers did not answer" in outcomes[0]
    assert all("waits for another" in outcome for outcome in outcomes[1:])
    assert 1 == sum(thread.name == "lookup" for thread in set(threading.enumerate()) - others)
    assert ["192.0.2.1"] == await resolver.find("victim", "login.victim.example")
    (outcome,) = await in_the_end(monkeypatch, resolver.find("evil", "login.evil.example"))
    assert isinstance(outcome, OSError)
    assert "waits for another" in str(outcome)
    slow.set()
    async with asyncio.timeout(PATIENCE):
        assert ["192.0.2.1"] == await resolver.find("evil", "login.evil.example")

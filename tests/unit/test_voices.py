"""Who has said what it loaded, and who has been asked in vain, and for how long."""

import pytest

from modelward_operator.cluster import voices
from modelward_operator.cluster.voices import Voices
from modelward_operator.facts import Json

READY: Json = {"state": "Ready", "model": {"digest": "d"}}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_a_container_said_stays_said() -> None:
    clock = Clock()
    heard = Voices(clock)
    assert heard.hear("p", "c1", READY, is_ready=True) == (READY, 0.0)
    clock.now += 3600
    assert heard.hear("p", "c1", {}, is_ready=True) == (READY, 0.0), "a container loads once"
    assert heard.hear("p", "c2", {}, is_ready=False) == ({}, 0.0), "another container is another model"


@pytest.mark.parametrize("answer", [{}, {"state": "Serving"}, {"state": "Loading", "model": {"encrypted": True}}])
def test_silence_counts_from_the_first_time_that_a_ready_pod_was_asked(answer: Json) -> None:
    clock = Clock()
    heard = Voices(clock)
    assert heard.hear("p", "c1", answer, is_ready=False) == ({}, 0.0)
    clock.now += 60
    assert heard.hear("p", "c1", answer, is_ready=True) == ({}, 0.0)
    clock.now += 40
    assert heard.hear("p", "c1", answer, is_ready=False) == ({}, 40.0), "to be unready for a moment does not begin anew"
    clock.now += 40
    assert heard.hear("p", "c2", answer, is_ready=True) == ({}, 80.0), "nor does another container"
    assert heard.hear("p", "c2", READY, is_ready=True) == (READY, 0.0)
    clock.now += 10
    assert heard.hear("p", "c2", answer, is_ready=True) == (READY, 0.0)


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voices, "REMEMBERED", 2)
    heard = Voices(Clock())
    for name in "abc":
        heard.hear(name, name, READY, is_ready=True)
    assert [heard.hear(name, name, {}, is_ready=True)[0] for name in "abc"] == [{}, {}, READY]

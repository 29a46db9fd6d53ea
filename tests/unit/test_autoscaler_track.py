"""One model's track over time: bursts, quiet, silence, lies, restarts, clocks."""

from dataclasses import replace
from math import inf

import pytest

from modelward_operator.autoscaler.decide import Cause, Settings
from modelward_operator.autoscaler.load import Ask, Load, parse_load
from modelward_operator.autoscaler.track import BUSY_WAIT, GRACE, HOT_WAIT, IDLE_WAIT, PATIENCE, Track
from tests.loads import Pods

S = Settings(minimum=1, maximum=20, target=8.0, utilization=0.7)  # 5.6 requests a replica
ZERO = replace(S, minimum=0, idle=30.0)


def at(pods: Pods, seconds: float) -> int:
    """The number that stood at that time."""
    return [number for time, number in [(0.0, 1), *pods.numbers] if time <= seconds][-1]


def test_a_burst_is_followed_within_two_seconds_and_nearly_wholly_within_the_panic_window() -> None:
    pods = Pods(Track(S, 1), lambda t: 40.0 if t >= 10 else 1.0)
    pods.run(30)
    assert at(pods, 10.0) == 1
    assert at(pods, 12.0) > 1
    assert at(pods, 16.0) >= 7
    assert at(pods, 30.0) == 8


def test_after_a_burst_the_replicas_stay_for_the_windows_and_then_go_one_way() -> None:
    pods = Pods(Track(S, 1), lambda t: 40.0 if 10 <= t < 40 else 3.0)
    pods.run(400)
    numbers = [number for _, number in pods.numbers]
    top = numbers.index(max(numbers))
    assert numbers == [*sorted(numbers[: top + 1]), *sorted(numbers[top + 1 :], reverse=True)]
    assert at(pods, 98.0) == 8, "a panic holds for a minute after its end"
    assert numbers[-1] == 1
    assert pods.numbers[-1][0] < 250


def test_a_constant_load_moves_the_number_once_and_never_again() -> None:
    pods = Pods(Track(S, 1), lambda _: 23.0, startup=20.0)
    pods.run(1800)
    assert [n for _, n in pods.numbers] == sorted({n for _, n in pods.numbers})
    assert at(pods, 1800) == at(pods, 150)


def test_a_load_that_swings_about_a_border_does_not_make_the_number_swing() -> None:
    pods = Pods(Track(S, 1), lambda t: 5.6 * 3 * (1.04 if int(t) % 20 < 10 else 0.96))
    pods.run(1800)
    assert len(pods.numbers) <= 4
    assert at(pods, 1800) == at(pods, 200)


def test_the_last_replica_goes_when_nobody_called_for_so_long_and_comes_back_with_a_request_that_waits() -> None:
    track = Track(ZERO, 1)
    pods = Pods(track, lambda t: 2.0 if t < 50 else 0.0)
    pods.run(120)
    assert pods.numbers[-1] == (80.0, 0)
    track.hold(3, 0, pods.now)
    assert (1, Cause.WOKEN) == track.decide(pods.now)[:2]


def test_the_silence_of_pods_takes_nobody_to_zero_nor_down() -> None:
    pods = Pods(Track(replace(ZERO, maximum=4), 1), lambda t: 15.0 if t < 60 else 0.0)
    pods.run(60)
    stood = pods.track.wanted
    pods.mute = set(pods.ready)
    pods.run(4000)
    assert stood == pods.track.wanted == 3
    assert pods.decision is not None
    assert (Cause.UNKNOWN, 3) == (pods.decision.cause, pods.track.last_reading.lost)


def test_one_pod_that_hangs_holds_the_number_for_a_while_and_then_counts_as_used() -> None:
    pods = Pods(Track(S, 1), lambda t: 15.0 if t < 60 else 0.0)
    pods.run(60)
    pods.mute = {pods.ready[0]}
    pods.run(PATIENCE + GRACE)
    assert pods.track.wanted == 3
    pods.run(200)
    assert pods.track.wanted == 1, "the silent one counts as fully used, the others are not needed"
    zero = Pods(Track(ZERO, 1), lambda _: 0.0)
    zero.run(5)
    zero.mute = {zero.ready[0]}
    zero.run(4000)
    assert zero.track.wanted == 1


def test_a_restart_of_the_operator_moves_nothing_before_a_whole_window_was_seen() -> None:
    pods = Pods(Track(S, 8), lambda _: 3.0)
    pods.run(59)
    assert pods.numbers == []
    pods.run(30)
    assert at(pods, 90) == 1


def test_a_restart_in_the_middle_of_a_load_keeps_what_it_needs() -> None:
    pods = Pods(Track(S, 8), lambda _: 40.0)
    pods.run(300)
    assert pods.numbers == []


def test_a_silence_of_all_is_no_quiet_minute() -> None:
    pods = Pods(Track(S, 8), lambda _: 40.0)
    pods.run(100)
    pods.mute = set(pods.ready)
    pods.run(PATIENCE + 60)
    pods.mute = set()
    pods.run(300)
    assert pods.numbers == []


def test_who_lies_moves_nothing_beyond_the_bounds() -> None:
    track = Track(replace(S, maximum=5), 2)
    track.meet({"a", "b"}, 0.0)
    for second in range(200):
        track.hear("a", Load(second, 1e6, 1e12 * second, 0, 0), float(second))
        track.hear("b", Load(1e9 - second, 0.0, 1e9 - second, second, 1e9), float(second))
        assert 1 <= track.decide(float(second)).wanted <= 5
    assert track.wanted == 5


def test_a_pod_whose_process_began_anew_counts_from_anew() -> None:
    track = Track(S, 1)
    track.meet({"a"}, 0.0)
    track.hear("a", Load(500.0, 2.0, 9000.0, 100, 0), 0.0)
    track.hear("a", Load(502.0, 2.0, 9004.0, 110, 0), 2.0)
    track.hear("a", Load(504.0, 3.0, 1.0, 1, 0), 4.0)
    assert track.reading(4.0).panic == pytest.approx((2 * 2 + 3 * 2) / 4)


def test_a_clock_that_is_set_back_decides_nothing_anew() -> None:
    pods = Pods(Track(S, 1), lambda _: 23.0)
    pods.run(100)
    stood = pods.track.wanted
    for second in range(100):
        assert pods.track.decide(pods.now - 1000 * second).wanted == stood


def test_a_clock_that_leaps_ahead_is_a_silence_and_no_quiet() -> None:
    pods = Pods(Track(replace(ZERO, idle=5.0), 1), lambda _: 23.0)
    pods.run(100)
    stood = pods.track.wanted
    assert (stood, Cause.UNKNOWN) == pods.track.decide(pods.now + 1e6)[:2]


def test_what_is_asked_of_a_pod() -> None:
    track = Track(ZERO, 1)
    track.meet({"a"}, 0.0)
    assert track.ask("a", 0.0) == Ask(1, 0.0), "the first word at once"
    track.hear("a", Load(0.0, 0.0, 0.0, 0, 25.0), 0.0)
    assert track.ask("a", 0.0) == Ask(9, BUSY_WAIT), "nothing is known of what was between"
    track.hear("a", Load(2.0, 0.0, 0.0, 0, 27.0), 2.0)
    until_zero = track.ask("a", 2.0)
    assert until_zero.above == 1
    assert until_zero.wait == pytest.approx(3.05), "just until it has been idle long enough"
    track.hear("a", Load(3.0, 1.0, 0.0, 0, 0.0), 3.0)
    assert track.ask("a", 3.0) == Ask(9, BUSY_WAIT), "one request: sampled, and a push when it is too much"
    track.hear("a", Load(4.0, 12.0, 6.0, 0, 0.0), 4.0)
    assert track.ask("a", 4.0, 4 * BUSY_WAIT) == Ask(49, HOT_WAIT), (
        "what follows the peak is wanted soon, however many are asked"
    )
    track.hear("a", Load(5.0, 12.0, 18.0, 0, 0.0), 5.0)
    assert track.ask("a", 5.0) == Ask(49, HOT_WAIT)
    assert track.ask("a", 5.0, 4 * BUSY_WAIT) == Ask(49, 4 * HOT_WAIT), "less often where many have to be asked"
    assert track.ask("a", 100.0) == Ask(1, 0.0), "who is silent is asked to say anything"
    assert track.reading(100.0).silent == 1, "and is silent until it does"


def test_a_pod_without_requests_is_asked_once_a_minute_where_the_last_replica_stays() -> None:
    track = Track(S, 1)
    track.meet({"a"}, 0.0)
    track.hear("a", Load(0.0, 0.0, 0.0, 0, 25.0), 0.0)
    track.hear("a", Load(2.0, 0.0, 0.0, 0, 27.0), 2.0)
    assert track.ask("a", 2.0) == Ask(1, IDLE_WAIT)


def test_too_much_is_no_hurry_where_no_more_may_run() -> None:
    track = Track(replace(S, maximum=1), 1)
    track.meet({"a"}, 0.0)
    track.hear("a", Load(0.0, 50.0, 0.0, 0, 0.0), 0.0)
    assert track.ask("a", 0.0) == Ask(51, BUSY_WAIT)


def test_what_pods_that_left_have_done_stays_in_the_mean() -> None:
    track = Track(S, 2)
    track.meet({"a", "b"}, 0.0)
    for second in range(31):
        for pod in "ab":
            track.hear(pod, Load(second, 4.0, 4.0 * second, second, 0.0), float(second))
    track.meet({"b"}, 30.0)
    assert track.reading(30.0).stable == pytest.approx(8.0)


def test_requests_that_are_passed_on_keep_a_model_from_being_idle() -> None:
    track = Track(ZERO, 1)
    track.meet({"a"}, 0.0)
    track.hear("a", Load(100.0, 0.0, 0.0, 0, 90.0), 0.0)
    track.hold(0, 1, 0.0)
    assert track.decide(0.0).wanted == 1
    track.hold(0, 0, 1.0)
    track.hear("a", Load(110.0, 0.0, 0.0, 0, 100.0), 10.0)
    assert track.reading(12.0).idle == pytest.approx(10.0), "since then, by the pod's last word"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("nothing", b""),
        ("no JSON", b"<html>"),
        ("no object", b"[1]"),
        ("a field missing", b'{"now": 1, "concurrency": 1, "busySeconds": 1, "requests": 1}'),
        ("a field that is text", b'{"now": "1", "concurrency": 1, "busySeconds": 1, "requests": 1, "idleSeconds": 0}'),
        ("a field that is true", b'{"now": true, "concurrency": 1, "busySeconds": 1, "requests": 1, "idleSeconds": 0}'),
        ("no number", b'{"now": NaN, "concurrency": 1, "busySeconds": 1, "requests": 1, "idleSeconds": 0}'),
        ("no end", b'{"now": 1, "concurrency": 1, "busySeconds": Infinity, "requests": 1, "idleSeconds": 0}'),
        ("less than none", b'{"now": 1, "concurrency": -1, "busySeconds": 1, "requests": 1, "idleSeconds": 0}'),
        ("more than can be", b'{"now": 1, "concurrency": 1, "busySeconds": 1e300, "requests": 1, "idleSeconds": 0}'),
        ("too long an integer", b'{"now": 1' + b"0" * 450 + b', "concurrency": 1}'),
        ("too long", b'{"now": 1, "concurrency": 1, "busySeconds": 1, "requests": 1, "idleSeconds": 0}' + b" " * 512),
    ],
)
def test_an_answer_that_is_none(reason: str, text: bytes) -> None:
    assert parse_load(text) is None, reason


def test_an_answer_of_a_newer_runtime_is_one() -> None:
    text = b'{"now": 1.5, "concurrency": 2, "busySeconds": 3, "requests": 4, "idleSeconds": 0, "more": [1]}'
    assert parse_load(text) == Load(1.5, 2.0, 3.0, 4.0, 0.0)
    assert inf not in Load(1.5, 2.0, 3.0, 4.0, 0.0)

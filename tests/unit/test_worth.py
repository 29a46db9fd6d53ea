"""Whether sharing runs pays: measured both ways, and found out again when it changes."""

from modelward_runtime.worth import ANY, Worth

WEIGHT, APART = 1000, 0.001


def known(together: float, requests: int = 8) -> Worth:
    """Measured apart and in runs of several, which cost so much for each request."""
    worth = Worth()
    for _ in range(4):
        worth.ran(1, WEIGHT, APART)
        worth.ran(requests, requests * WEIGHT, requests * together)
    return worth


def test_what_is_not_measured_is_shared() -> None:
    worth = Worth()
    assert worth.pays(WEIGHT)
    for _ in range(10):
        worth.ran(1, WEIGHT, APART)
    assert worth.pays(WEIGHT), "nobody has tried"
    assert known(together=APART).pays(2 * WEIGHT), "another weight is another matter"


def test_a_run_is_shared_where_that_saves_a_tenth() -> None:
    assert known(together=0.5 * APART).pays(WEIGHT)
    assert known(together=0.85 * APART).pays(WEIGHT)
    assert not known(together=0.95 * APART).pays(WEIGHT)
    assert not known(together=2 * APART).pays(WEIGHT)


def test_what_did_not_pay_is_tried_again_and_decided_anew() -> None:
    worth = known(together=APART)
    asked = 0
    while not worth.pays(WEIGHT):
        worth.ran(1, WEIGHT, APART)
        asked += 1
    assert 4000 < asked < 4200, "rarely: those who share then are the slower for it"
    for _ in range(3):
        worth.ran(8, 8 * WEIGHT, 8 * APART)
        assert worth.pays(WEIGHT), "one run tells little"
    worth.ran(8, 8 * WEIGHT, 8 * APART)
    assert not worth.pays(WEIGHT), "without a single run apart in between"
    for _ in range(4200):
        worth.ran(1, WEIGHT, APART)
    for _ in range(8):
        worth.ran(8, 8 * WEIGHT, 8 * APART / 4)
    assert worth.pays(WEIGHT), "it does now"


def test_costs_that_rise_for_single_runs_bring_sharing_back() -> None:
    worth = known(together=APART)
    for _ in range(20):
        worth.ran(1, WEIGHT, 2 * APART)
    assert worth.pays(WEIGHT)


def test_few_share_a_run_to_find_out_and_all_or_none_afterwards() -> None:
    worth = Worth()
    assert worth.most(WEIGHT) == ANY, "there is nothing to compare with"
    for _ in range(4):
        worth.ran(1, WEIGHT, APART)
    assert 1 < worth.most(WEIGHT) <= 4, "where it does not pay, they are all late"
    assert known(together=0.5 * APART).most(WEIGHT) == ANY
    assert known(together=APART).most(WEIGHT) == 1

"""Whether sharing runs pays: measured both ways under the same load, and found out again now and then."""

from modelward_runtime.worth import ANY, Worth

WEIGHT, APART = 1000, 0.001


def serve(worth: Worth, runs: int, *, together: float, apart: float = APART, waiting: int = 16) -> list[int]:
    """Runs of requests that wait together, which cost so much for each in a run of several; how many shared each."""
    shared = []
    for _ in range(runs):
        requests = min(worth.most(WEIGHT), waiting)
        shared.append(requests)
        worth.ran(requests, requests * WEIGHT, requests * together if requests > 1 else apart)
    return shared


def undecided() -> Worth:
    """The first runs are shared, and not measured."""
    worth = Worth()
    assert serve(worth, 4, together=APART) == [16] * 4
    return worth


def decided(together: float) -> Worth:
    """Measured apart and in runs of several."""
    worth = undecided()
    serve(worth, 10, together=together)
    return worth


def test_what_is_not_measured_is_shared() -> None:
    worth = Worth()
    for _ in range(1000):
        worth.ran(1, WEIGHT, APART)
        assert worth.pays(WEIGHT), "nobody has tried"
    assert worth.most(WEIGHT) == ANY
    assert decided(together=APART).pays(2 * WEIGHT), "another weight is another matter"


def test_a_run_is_shared_where_that_saves_a_tenth() -> None:
    assert decided(together=0.5 * APART).pays(WEIGHT)
    assert decided(together=0.85 * APART).pays(WEIGHT)
    assert not decided(together=0.95 * APART).pays(WEIGHT)
    assert not decided(together=2 * APART).pays(WEIGHT)


def test_few_share_a_run_to_find_out_by_turns_and_all_or_none_afterwards() -> None:
    worth = undecided()
    assert serve(worth, 10, together=0.5 * APART) == [4, 1] * 5, "where it does not pay, they are all late"
    assert worth.most(WEIGHT) == ANY
    assert decided(together=APART).most(WEIGHT) == 1


def test_runs_of_who_came_alone_are_not_compared_with_those_under_load() -> None:
    """After a pause the model is slow: by such runs sharing seemed to pay for images, and then nobody ran apart to see it."""
    worth = undecided()
    for _ in range(100):
        worth.ran(1, WEIGHT, 2 * APART)
    serve(worth, 10, together=1.1 * APART)
    assert not worth.pays(WEIGHT)


def test_one_slow_run_of_either_kind_decides_nothing() -> None:
    for slow in range(10):
        worth = undecided()
        for run in range(10):
            requests = worth.most(WEIGHT)
            cost = APART * (20 if run == slow else 1)
            worth.ran(requests, requests * WEIGHT, requests * cost)
        assert not worth.pays(WEIGHT), slow


def test_a_decision_is_made_anew_after_many_requests_whichever_it_was() -> None:
    for before, after in ((APART, APART / 4), (APART / 4, APART)):
        worth = decided(together=before)
        paid, served = worth.pays(WEIGHT), 0
        while worth.most(WEIGHT) in {1, ANY}:
            served += sum(serve(worth, 1, together=before))
        assert 8000 < served < 8400, "rarely: those who find out are the slower for it"
        serve(worth, 10, together=after)
        assert worth.pays(WEIGHT) is not paid


def test_who_comes_alone_meanwhile_counts_once_at_most() -> None:
    worth = undecided()
    worth.ran(2, 2 * WEIGHT, 2 * APART)
    for _ in range(100):
        worth.ran(1, WEIGHT, 2 * APART)
    serve(worth, 10, together=1.1 * APART)
    assert not worth.pays(WEIGHT)

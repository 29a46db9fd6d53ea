"""`modelward-operator simulate`: what it reads, what it refuses, what it prints and writes; and what becomes of single requests."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.cli import main
from modelward_operator.simulation.case import BadCase, read_cases
from modelward_operator.simulation.pilot import Pilot
from modelward_operator.simulation.replay import Options, replay
from modelward_operator.simulation.rhythm import Rhythm, make_trace
from modelward_operator.simulation.trace import BadTrace, ServiceTime, arrivals, read_trace, write_trace
from modelward_operator.simulation.world import Fate, Shape, World
from tests.simulations import API, book, budget, case, model, rows, steady

EXAMPLES = Path(__file__).parents[2] / "operator" / "examples" / "simulate"


def fates(world: World) -> dict[str, int]:
    return {fate.value: count for fate, count in world.tally.fates.items() if count}


@pytest.mark.parametrize(
    ("reason", "text", "message"),
    [
        ("nothing at all", "", "the first line must be time,requests,seconds"),
        ("another header", "when,what\n", "it is when,what"),
        ("no record", "time,requests,seconds\n", "it has no record"),
        ("a cell too few", "time,requests,seconds\n0,1\n", "record 2: it needs three cells"),
        ("half a request", "time,requests,seconds\n0,1.5,1\n", "whole number"),
        ("a negative number", "time,requests,seconds\n0,-1,1\n", "whole number"),
        ("no time to serve", "time,requests,seconds\n0,1,0\n", "more than 0"),
        ("endless service", "time,requests,seconds\n0,1,inf\n", "finite"),
        ("time stands still", "time,requests,seconds\n0,1,1\n0,1,1\n", "record 3: time must grow"),
        ("a date without a zone", "time,requests,seconds\n2026-03-02T00:00:00,1,1\n", "needs a zone"),
        ("no time", "time,requests,seconds\nnoon,1,1\n", "seconds or RFC 3339"),
        ("too much", "time,requests,seconds\n0,30000000,1\n", "at most 20000000"),
        ("milliseconds", "time,requests,seconds\n0,1,1\n604800000,1,1\n", "it lasts 14000 days; at most 400"),
        ("no end in sight", "time,requests,seconds\n0,1,1\n1e300,1,1\n", "at most 400"),
        ("the last day of all", "time,requests,seconds\n9999-12-31T23:59:59Z,1,1\n", "between the years 1970 and 2200"),
        ("before the first", "time,requests,seconds\n0001-01-01T00:00:00+14:00,1,1\n", "between the years"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(reason: str, text: str, message: str) -> None:
    with pytest.raises(BadTrace, match=message):
        read_trace(text.splitlines(keepends=True))


def test_all_wrong_records_are_told_at_once() -> None:
    with pytest.raises(BadTrace, match=r"record 2: .*; record 3: "):
        read_trace(["time,requests,seconds\n", "0,x,1\n", "1,1,x\n"])


def test_dates_become_seconds_and_the_last_row_lasts_as_long_as_the_one_before() -> None:
    text = "# a comment\ntime,requests,seconds\n2026-03-02T01:00:00+01:00,2,0.5\n2026-03-02T00:05:00Z,3,0.5\n"
    trace = read_trace(text.splitlines(keepends=True))
    assert [(0.0, 300.0, 2), (300.0, 300.0, 3)] == [(row.start, row.length, row.requests) for row in trace.rows]
    assert trace.begins
    assert "2026-03-02T00:00:00+00:00" == trace.begins.isoformat()


def test_a_trace_out_of_a_spreadsheet_is_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace, specs = tmp_path / "trace.csv", tmp_path / "specs.yaml"
    trace.write_text("time,requests,seconds\r\n0,1,1\r\n", encoding="utf-8-sig")
    specs.write_text(yaml.safe_dump(model({})), encoding="utf-8")
    assert 0 == main(["simulate", "--trace", str(trace), "--spec", str(specs)]), capsys.readouterr().err


def test_requests_come_in_order_within_their_rows_with_the_mean_that_the_trace_says() -> None:
    trace = rows((60.0, 400, 0.5), (60.0, 0, 0.5), (60.0, 400, 2.0))
    found = list(arrivals(trace, 3, ServiceTime.EXPONENTIAL))
    times = [at for at, _ in found]
    assert sorted(times) == times
    assert 400 == sum(at < 60 for at in times) == sum(at >= 120 for at in times)
    assert 2.0 == pytest.approx(sum(seconds for at, seconds in found if at >= 120) / 400, rel=0.15)
    assert {0.5, 2.0} == {seconds for _, seconds in arrivals(trace, 3, ServiceTime.CONSTANT)}


def test_the_shipped_trace_is_what_the_generator_makes() -> None:
    assert (EXAMPLES / "week.csv").read_text() == "".join(write_trace(make_trace(Rhythm())))


def test_a_written_trace_reads_back_as_it_was() -> None:
    made = make_trace(Rhythm(days=2))
    back = read_trace(write_trace(made))
    assert (made.requests, made.length) == (back.requests, back.length)
    assert list(arrivals(made, 1, ServiceTime.CONSTANT)) == list(arrivals(back, 1, ServiceTime.CONSTANT))


def test_the_rhythm_has_nights_weekends_and_bursts() -> None:
    trace = make_trace(Rhythm(days=14, seed=5))
    hours = [sum(row.requests for row in trace.rows[hour * 60 : hour * 60 + 60]) for hour in range(14 * 24)]
    noons = [hours[day * 24 + 14] for day in range(14)]
    assert min(noons[:5]) > 2 * max(noons[5], noons[6])
    assert 0 == min(hours)
    assert max(row.requests for row in trace.rows) > 2 * 60 * Rhythm().peak


@pytest.mark.parametrize(
    ("reason", "documents", "message"),
    [
        ("no model", [book()], "no ModelDeployment in it"),
        ("two of a name", [model({}), model({})], "two ModelDeployments have one name"),
        ("decided elsewhere", [model({"autoscaler": "External"})], "decides outside of the operator"),
        ("a wrong spec", [model({"minReplicas": 4, "maxReplicas": 2})], "must not exceed maxReplicas"),
        ("a field that there is not", [model({"maxReplica": 2})], "spec.scaling.maxReplica"),
        ("nothing would run", [{**model({}), "spec": {**model({})["spec"], "suspend": True}}], "it is suspended"),
        ("a wrong price", [model({}), book("-1")], "a price must be a decimal number"),
        ("a wrong budget", [model({}), budget(limit="0")], "limit must be more than 0"),
        ("a name that is a path", [{**model({}), "metadata": {"name": "../../x"}}], "it is '../../x'"),
        (
            "labels that are none",
            [{**model({}), "metadata": {"name": "m", "labels": "x"}}],
            "metadata.labels must be a map",
        ),
        (
            "a wrong node",
            [model({}), {"kind": "Node", "metadata": {"name": "n", "labels": {"a": 1}}}],
            "metadata.labels.a",
        ),
    ],
)
def test_a_file_that_cannot_be_simulated_is_refused(reason: str, documents: list[Any], message: str) -> None:
    with pytest.raises(BadCase, match=message):
        read_cases(documents)


def test_a_budget_counts_for_the_models_that_it_selects_in_its_namespace() -> None:
    chosen = budget(selector={"matchLabels": {"team": "fraud"}})
    assert {} == case({}, chosen).budgets
    labelled = model({})
    labelled["metadata"]["labels"] = {"team": "fraud"}
    assert ["day"] == list(read_cases([labelled, chosen])[0].budgets)
    assert {} == read_cases([labelled, {**chosen, "metadata": {"name": "day", "namespace": "shop"}}])[0].budgets


def test_the_activator_holds_refuses_and_gives_up_as_the_spec_says() -> None:
    world = World(Shape(activates=True, hold_seconds=10.0, max_held=2, start_seconds=30.0), 0)
    for _ in range(3):
        world.arrive(1.0)
    world.advance(11.0)
    assert {"refused": 1, "expired": 2} == fates(world)
    world.arrive(1.0)
    world.scale(1)
    world.advance(20.0)
    world.arrive(1.0)
    world.advance(22.0)
    assert {"refused": 1, "expired": 3} == fates(world), "the first gave up at 21, before the pod was ready"
    world.advance(31.0)
    world.arrive(1.0)
    world.advance(60.0)
    assert 1 == fates(world)["answered"], "the pod was ready at 41; what came at 31 waited exactly so long as it may"


def test_a_held_request_goes_first_and_its_wait_is_the_cold_start() -> None:
    world = World(Shape(activates=True, start_seconds=30.0), 0)
    world.advance(5.0)
    world.arrive(2.0)
    world.scale(1)
    world.advance(40.0)
    assert ([30.0], [32.0]) == (list(world.tally.cold_starts), list(world.tally.latencies))


def test_without_an_activator_nobody_holds_and_over_budget_nobody_wakes() -> None:
    world = World(Shape(), 0)
    world.arrive(1.0)
    assert {"failed": 1} == fates(world)
    world = World(Shape(activates=True), 0)
    world.arrive(1.0)
    world.deny()
    world.arrive(1.0)
    assert {"denied": 2} == fates(world)


def test_a_pod_that_leaves_ends_its_work_and_costs_until_then() -> None:
    world = World(Shape(parallel=2), 2)
    for _ in range(4):
        world.arrive(10.0)
    world.advance(3.0)
    world.scale(1)
    assert (1, 2, 2) == (world.wanted, len(world.pods), len(world.serving()) + 1)
    world.advance(20.0)
    assert ({"answered": 4}, 1, 30.0) == (fates(world), len(world.pods), world.pod_seconds())


def test_requests_beyond_the_queue_are_refused() -> None:
    world = World(Shape(queue=3), 1)
    for _ in range(10):
        world.arrive(1.0)
    assert {"refused": 6} == fates(world)


def test_a_burst_is_decided_upon_within_two_seconds() -> None:
    """What the simulator hands to the autoscaler is pushed, not waited for."""
    chosen = case({"minReplicas": 1, "maxReplicas": 8, "targetConcurrency": "2"})
    pilot, world = Pilot(chosen.spec.scaling, 1), World(Shape(), 1)
    pilot.look(world)
    world.advance(400.0)
    pilot.look(world)
    for step in range(40):
        world.advance(400.0 + step / 20)
        world.arrive(5.0)
        if pilot.hears(world) or pilot.due <= world.now:
            pilot.look(world)
    assert pilot.wanted > 1


def test_an_idle_model_goes_to_zero_and_wakes_for_the_next_request() -> None:
    trace = rows((60.0, 30, 0.5), (3600.0, 0, 0.5), (60.0, 5, 0.5))
    outcome = replay(case({"minReplicas": 0, "maxReplicas": 4, "idleSeconds": 300}, book()), trace, Options())
    assert (35, 1) == (outcome.fates["answered"], outcome.cold_starts)
    assert 30.0 == outcome.cold_start["max"]
    assert 0 in {note.replicas for note in outcome.timeline}
    assert outcome.replica_hours < 0.2


def test_a_budget_that_is_spent_ends_the_pods_and_refuses_who_comes() -> None:
    spent = budget(limit="1", period="Week", floor=0, burnWindowSeconds=60, onExceeded="ScaleToZero")
    outcome = replay(case({"minReplicas": 1, "maxReplicas": 2}, book("2"), spent), steady(7200.0, 0.5, 0.5), Options())
    assert outcome.fates["denied"] > 1000
    assert 1.0 == pytest.approx(float(outcome.cost), abs=0.05)
    assert "ScaleToZero" == outcome.steps[-1].action


def test_without_a_price_the_cost_is_not_known_and_said_so() -> None:
    outcome = replay(case({"replicas": 1}), steady(60.0, 0.5, 0.5), Options())
    assert ("", "") == (outcome.cost, outcome.price)
    assert "no node is known" in outcome.priced_by


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(["simulate", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def morning(tmp_path: Path) -> Path:
    """Half an hour of the shipped trace, with its first burst."""
    lines = (EXAMPLES / "week.csv").read_text().splitlines(keepends=True)
    file = tmp_path / "morning.csv"
    file.write_text("".join([lines[0], *(line for line in lines[1:] if float(line.split(",")[0]) < 9 * 3600)]))
    return file


def test_the_example_is_compared_side_by_side(
    capsys: pytest.CaptureFixture[str], morning: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    chosen = ["--trace", str(morning), "--spec", str(EXAMPLES / "specs.yaml"), "--parallel", "4", "--out", str(out)]
    status, printed, wrong = run(capsys, *chosen, "--json")
    assert (0, "") == (status, wrong)
    report = json.loads((out / "report.json").read_text())
    assert json.loads(printed) == report
    assert ["always-four", "one-to-eight", "zero-to-eight"] == [one["name"] for one in report["models"]]
    costs = [float(one["cost"]) for one in report["models"]]
    assert costs == sorted(costs, reverse=True)
    for one in report["models"]:
        assert sum(one["fates"].values()) == report["trace"]["requests"] == one["requests"]
        ET.fromstring((out / f"{one['name']}.svg").read_text())
        header, *timeline = (out / f"{one['name']}.csv").read_text().splitlines()
        assert header.startswith("time,requests,wanted")
        assert one["requests"] == sum(int(line.split(",")[1]) for line in timeline)


def test_the_page_compares_and_draws(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time,requests,seconds\n0,60,0.5\n60,6,0.5\n")
    chosen = ["--trace", str(tmp_path / "trace.csv"), "--spec", str(EXAMPLES / "specs.yaml")]
    status, printed, wrong = run(capsys, *chosen)
    assert (0, "") == (status, wrong)
    for words in (
        "always-four",
        "zero-to-eight",
        "latency p99",
        "cost",
        "1.006 USD/h",
        "replicas │██│ 4",
        "66 (100.000%)",
    ):
        assert words in printed


def test_what_is_not_looked_at_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time,requests,seconds\n0,6,0.5\n")
    others = [{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": API, "kind": "ModelPolicy"}]
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump_all([model({}), book(), *others]))
    status, _, wrong = run(capsys, "--trace", str(tmp_path / "trace.csv"), "--spec", str(tmp_path / "spec.yaml"))
    assert (0, "simulate: not looked at: ModelPolicy, Secret\n") == (status, wrong)


@pytest.mark.parametrize(
    ("reason", "arguments", "status", "message"),
    [
        ("nothing to do", [], 1, "--trace and --spec are needed"),
        ("no such trace", ["--trace", "/nonexistent", "--spec", "/nonexistent"], 2, "No such file"),
        ("no YAML", ["--trace", "{week}", "--spec", "{broken}"], 1, "simulate: "),
        ("a trace that is none", ["--trace", "{broken}", "--spec", "{broken}"], 1, "the first line must be"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    reason: str, arguments: list[str], status: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken").write_text("a: [")
    given = [text.format(week=EXAMPLES / "week.csv", broken=tmp_path / "broken") for text in arguments]
    found, printed, wrong = run(capsys, *given)
    assert (status, "") == (found, printed), reason
    assert message in wrong


def test_a_trace_can_be_made_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    status, printed, _ = run(capsys, "--make-trace", "-", "--days", "1", "--peak", "1", "--seconds", "0.2")
    assert (0, "time,requests,seconds") == (status, printed.splitlines()[0])
    assert read_trace(printed.splitlines(keepends=True)).requests > 0


@pytest.mark.parametrize(
    "wrong", [["--parallel", "0"], ["--start-seconds", "-1"], ["--service", "weibull"], ["--days", "x"]]
)
def test_options_out_of_range_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["simulate", *wrong])
    assert 2 == end.value.code


def test_the_examples_are_valid_and_every_document_counts() -> None:
    documents = list(yaml.safe_load_all((EXAMPLES / "specs.yaml").read_text()))
    cases = read_cases(documents)
    assert ["USD"] * 3 == [one.rate.currency for one in cases if one.rate]
    assert all(list(one.budgets) == ["week"] and one.price == "any-g5" for one in cases)


def test_the_fates_are_those_that_the_page_explains() -> None:
    outcome = replay(case({"replicas": 1}), steady(60.0, 0.5, 0.5), Options())
    assert {fate.value for fate in Fate} == outcome.fates.keys()

"""The benchmark of the serving runtime: what it reads of generators and of /proc, how it judges, and what it draws."""

import json
from xml.etree import ElementTree as ET

import pytest

from e2e.bench.serving.bars import judge
from e2e.bench.serving.cases import CASES
from e2e.bench.serving.command import PUBLISHED, settings
from e2e.bench.serving.failures import ImpossibleError, LoadError
from e2e.bench.serving.load import Window, parse_ghz, parse_ghz_paced, parse_vegeta, parse_wrk
from e2e.bench.serving.meter import busy_seconds
from e2e.bench.serving.plots import plots
from e2e.bench.serving.servers import SERVERS, chosen, ports
from e2e.bench.serving.svg import Bar, Panel, draw
from e2e.bench.serving.tables import page, told
from e2e.bench.serving.tree import TICK, parse_smaps, parse_stat

WRK = """Running 1s test @ http://127.0.0.1:31000/v2/models/tiny/infer
  9 requests in 1.00s, 1.00KB read
{"requests":%d,"microseconds":2000000,"errors":%d,"p50":1.5,"p99":3.5,"p99.9":9.25}
"""


def test_what_wrk_says() -> None:
    assert Window(400, 200.0, 1.5, 3.5, 9.25) == parse_wrk(WRK % (400, 0))


@pytest.mark.parametrize(
    ("reason", "requests", "errors", "says"),
    [
        ("an error is no fast answer", 400, 3, "3 of 400 requests failed"),
        ("nothing is no rate", 0, 0, "not one answer"),
    ],
)
def test_a_window_with_errors_does_not_count(reason: str, requests: int, errors: int, says: str) -> None:
    with pytest.raises(LoadError, match=says):
        parse_wrk(WRK % (requests, errors))


def ghz(*calls: tuple[float, float], status: str = "OK") -> str:
    """Calls by their end and their latency, in milliseconds."""
    details = [
        {
            "timestamp": f"2026-11-26T03:36:{ended / 1000:012.9f}Z",
            "latency": int(lasted * 1e6),
            "error": "",
            "status": status,
        }
        for ended, lasted in calls
    ]
    return json.dumps({"count": len(calls), "details": details})


def test_what_ghz_says() -> None:
    found = parse_ghz(ghz((1000, 2), (1002, 4), (1004, 6)), 2.0)
    assert (3, 1.5, 4.0) == (found.requests, found.rate, found.p50)


def test_a_call_that_failed_spoils_the_window_of_ghz() -> None:
    with pytest.raises(LoadError, match="1 of 1"):
        parse_ghz(ghz((1000, 2), status="Unavailable"), 1.0)


def test_a_stall_counts_for_all_that_was_due_in_it() -> None:
    """100 a second, each answered in 1 ms; the generator itself was held up for 100 ms before the third, and sent the rest late."""
    sent = [0, 10, 120, 121, 122, 123, 124, 125, 126, 127]
    paced = parse_ghz_paced(ghz(*((at + 1, 1) for at in sent)), 100.0)
    rows = "\n".join(f"{at * 1_000_000},200,1000000,0,0,,,,,,," for at in sent)
    for found in (paced, parse_vegeta(rows, 100.0)):
        assert found.requests == len(sent)
        assert pytest.approx(101, abs=1) == found.p999
        assert pytest.approx(60.5, abs=1) == found.p50, "most of them were due while nothing was sent"


def test_a_steady_stream_is_as_fast_as_its_answers() -> None:
    rows = "\n".join(f"{at * 10_000_000},200,2000000,0,0,,,,,,," for at in range(100))
    found = parse_vegeta(rows, 100.0)
    assert (2.0, 2.0) == pytest.approx((found.p50, found.p999))


def test_vegeta_refuses_other_answers() -> None:
    with pytest.raises(LoadError, match="1 of 2"):
        parse_vegeta("0,200,1000000,,,,,,,,,\n10000000,503,1000000,,,,,,,,,", 100.0)


def test_a_process_may_be_called_anything() -> None:
    words = " ".join(str(number) for number in range(1, 50))
    found = parse_stat(f"42 (a) b (c)) S {words}")
    assert (42, 1, 3, 19, "S") == (found.pid, found.parent, found.session, found.began, found.state)
    assert pytest.approx((11 + 12 + 13 + 14) * TICK) == found.cpu


def test_a_librarys_pages_count_in_full_and_once() -> None:
    text = """7f00-7f10 r-xp 00000000 fe:00 77 /usr/lib/libc.so
Rss:                 100 kB
Pss:                   5 kB
Pss_Anon:              0 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
7f20-7f30 rw-p 00000000 00:00 0 [heap]
Rss:                  40 kB
Pss:                  20 kB
Pss_Anon:             20 kB
Anonymous:            40 kB
"""
    own, files = parse_smaps(text)
    assert (20 * 1024, {"fe:00 77 00000000": 100 * 1024}) == (own, files)


def test_what_a_core_did() -> None:
    text = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 1000 1000 8 16 32 64 64\ncpu1 0 0 0 0 0 0 0 0 0 0\n"
    assert pytest.approx(63 * TICK) == busy_seconds(0, text)


def spread(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def measured(rate: float, p50: float, cpu: float) -> dict[str, dict[str, float]]:
    times = {name: spread(p50 * times) for name, times in (("p50", 1), ("p99", 2), ("p99.9", 3))}
    return {"rate": spread(rate), **times, "cpu": spread(cpu), "generator": spread(0.5), "others": spread(0.0)}


def figures(ours: float, *, peers: bool = True) -> dict[str, object]:
    """A run in which MLServer does 100 requests a second in 2 ms, and ours `ours` times as well in everything."""
    keys = ("modelward", "modelward-batching", *(("mlserver-tuned",) if peers else ()))
    known = [server for server in SERVERS if server.key in keys]
    scale = {"modelward": ours, "modelward-batching": ours, "mlserver-tuned": 1.0}
    found = {key: measured(100 * scale[key], 2 / scale[key], 5 / scale[key]) for key in keys}
    models = ("tiny", "middle", "image")
    rated = {"rate": 70.0, "peer": "mlserver-tuned", "servers": {key: found[key] for key in keys if key != "modelward"}}
    about = ("title", "kind")
    return {
        "machine": {"processor": "A & B", "cpus": 2, "time": "2026-11-26T00:00:00+00:00"},
        "extent": {"rounds": 3, "seconds": 3},
        "onnxruntime": "1.32.0",
        "servers": {
            server.key: {name: getattr(server, name) for name in about}
            | {"product": server.product.title, "peer": server.product.peer, "version": "1"}
            for server in known
        },
        "alone": {model: {**measured(200, 0.0, 2.0), "rows": spread(900)} for model in models},
        "starts": {key: dict.fromkeys(models, 4 / scale[key]) for key in keys},
        "memory": {key: dict.fromkeys(models, 2e8 / scale[key]) for key in keys},
        "cases": {case.name: found for case in CASES},
        "openLoop": {"tiny JSON": rated} if peers else {},
        "reasons": {"modelward": ["tiny JSON 1: because"]},
    }


def test_a_server_far_ahead_holds_every_bar() -> None:
    assert {True} == {verdict.held for verdict in judge(figures(4.0))}


def test_a_server_that_is_like_its_peer_misses_every_bar_but_two() -> None:
    held = {verdict.bar for verdict in judge(figures(1.0)) if verdict.held}
    assert {"batching costs nothing measurable, p50", "CPU seconds per 1,000 requests: the lowest of all"} == held


def test_the_model_alone_is_that_of_the_case() -> None:
    found = figures(4.0)
    found["aloneIn"] = {"middle JSON 16": measured(1000, 0.0, 2.0)}
    verdicts = {verdict.case: verdict for verdict in judge(found) if "the model alone, a run each" in verdict.bar}
    assert (False, True) == (verdicts["middle JSON 16"].held, verdicts["middle gRPC 16"].held)
    assert "alone 1000" in verdicts["middle JSON 16"].says
    assert "1,000" in told(found, judge(found))


def test_without_peers_nothing_about_them_is_judged() -> None:
    verdicts = judge(figures(4.0, peers=False))
    about_peers = [
        verdict for verdict in verdicts if "peer" in verdict.bar or "MLServer" in verdict.bar or "lowest" in verdict.bar
    ]
    assert about_peers
    assert {None} == {verdict.held for verdict in about_peers}


def test_the_best_peer_counts_in_each_case() -> None:
    found = figures(4.0)
    faster = {**found["cases"]["tiny JSON 16"], "kserve": measured(300, 2, 5)}  # type: ignore[index]
    found["cases"]["tiny JSON 16"] = faster  # type: ignore[index]
    found["servers"]["kserve"] = {**found["servers"]["mlserver-tuned"], "title": "KServe"}  # type: ignore[index]
    verdict = judge(found)[0]
    assert ("tiny JSON 16", False) == (verdict.case, verdict.held)
    assert "KServe 300" in verdict.says


def test_the_tables_say_what_is_missing_and_what_was_held() -> None:
    found = figures(4.0)
    text = told(found, judge(found))
    assert "tiny JSON 1: because" in text
    assert "0 not judged" in text
    assert "MISSED" not in text


def test_pictures_are_xml_with_a_bar_for_each_product() -> None:
    pictures = plots(figures(4.0))
    assert {"throughput.svg", "cpu.svg", "latency.svg", "start.svg"} == set(pictures)
    for text in pictures.values():
        ET.fromstring(text)
    assert 9 * 2 == pictures["throughput.svg"].count(">MLServer<") + pictures["throughput.svg"].count(">ModelWard<")
    assert pictures == plots(figures(4.0))


def test_a_bar_is_as_long_as_its_value() -> None:
    text = draw("title", [[Panel("panel", [Bar("a<b", 10.0), Bar("c", 5.0), Bar("none", 0.0)])]], "foot")
    widths = [float(one.attrib["width"]) for one in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}rect")]
    assert pytest.approx(widths[1] / 2, abs=0.1) == widths[2]
    assert widths[3] == 1.0


def test_what_is_published_is_what_the_published_figures_say() -> None:
    kept = json.loads((PUBLISHED / "serving.json").read_text())
    drawn = {path.name: path.read_text(encoding="utf-8") for path in PUBLISHED.glob("*.svg")}
    assert plots(kept) == drawn, "python -m e2e.bench.serving publish"
    assert page(kept, judge(kept)) == (PUBLISHED / "README.md").read_text(encoding="utf-8"), "the same"


@pytest.mark.parametrize(
    ("reason", "peers", "quick", "found"),
    [
        ("ours alone, and no yardstick to install", "none", False, {""}),
        ("two, and the yardstick", "mlserver, kserve", False, {"", "mlserver", "kserve", "starlette"}),
        ("quick: all but Ray", "all", True, {server.product.peer for server in SERVERS} - {"ray"}),
        ("all", "all", False, {server.product.peer for server in SERVERS}),
    ],
)
def test_whom_the_setting_peers_names(reason: str, peers: str, quick: bool, found: set[str]) -> None:
    assert found == {server.product.peer for server in chosen(peers, quick=quick)}


def test_an_unknown_peer_is_refused_by_name() -> None:
    with pytest.raises(ImpossibleError, match="triton; there are: mlserver"):
        chosen("triton", quick=False)


def test_seconds_are_whole() -> None:
    assert (2, 5) == (settings({"SECONDS": "5"}, 2).extent.rounds, settings({"SECONDS": "5"}, 2).extent.seconds)
    assert (1, 1) == (settings({"QUICK": "1"}, 3).extent.rounds, settings({"QUICK": "1"}, 3).extent.seconds)
    with pytest.raises(ImpossibleError, match="SECONDS"):
        settings({"SECONDS": "0.5"}, 2)


def test_no_two_servers_share_a_port() -> None:
    taken = [port for server in SERVERS for port in ports(server)]
    assert len(set(taken)) == len(taken)
    assert max(taken) < 32_768, "from there on Linux gives ports to outgoing connections"

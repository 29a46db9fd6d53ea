"""The operator's own edges: settings, logs, metrics, the status patch, Events."""

import io
import json
import logging
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator import log
from modelward_operator.cluster.client import Client, Rejected
from modelward_operator.cluster.events import Teller
from modelward_operator.cluster.status import _replacing
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json
from modelward_operator.metrics import Metrics
from modelward_operator.settings import BadSettings, Settings, read_settings
from modelward_operator.status.news import News
from tests.makers import NOW, make_given


def test_settings_have_defaults() -> None:
    settings = read_settings({"RUNTIME_IMAGE": "img:1", "POD_NAME": "pod-1"})
    assert settings == Settings(runtime_image="img:1", identity="pod-1")


def test_settings_are_read() -> None:
    environ = {"RUNTIME_IMAGE": "i", "WATCH_NAMESPACES": "b, a,,a", "LOG_LEVEL": "DEBUG", "WORKERS": "3"}
    settings = read_settings({**environ, "LEADER_ELECTION": "false", "CLUSTER_DOMAIN": "k8s.example.com"})
    assert settings.cluster_domain == "k8s.example.com"
    assert settings.watch_namespaces == ("a", "b")
    assert (settings.log_level, settings.workers, settings.leader_election) == (logging.DEBUG, 3, False)


WRONG: list[tuple[str, dict[str, str]]] = [
    ("RUNTIME_IMAGE", {"RUNTIME_IMAGE": " "}),
    ("WORKERS", {"WORKERS": "0"}),
    ("WORKERS", {"WORKERS": "٣"}),
    ("WRITES_PER_SECOND", {"WRITES_PER_SECOND": "-1"}),
    ("LOG_LEVEL", {"LOG_LEVEL": "LOUD"}),
    ("LEADER_ELECTION", {"LEADER_ELECTION": "yes"}),
    ("WATCH_NAMESPACES", {"WATCH_NAMESPACES": "ok,Not_Ok"}),
    ("METRICS_PORT", {"METRICS_PORT": "70000"}),
    ("CLUSTER_DOMAIN", {"CLUSTER_DOMAIN": ".cluster.local"}),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_a_wrong_setting_is_named(name: str, wrong: dict[str, str]) -> None:
    with pytest.raises(BadSettings, match=name):
        read_settings({"RUNTIME_IMAGE": "i", **wrong})


def test_all_wrong_settings_come_at_once() -> None:
    with pytest.raises(BadSettings) as error:
        read_settings({name: value for _, wrong in reversed(WRONG) for name, value in wrong.items()})
    assert all(name in str(error.value) for name, _ in WRONG)


def test_a_log_line_is_json_with_the_passs_id() -> None:
    stream = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        log.configure(logging.INFO, stream)
        with log.correlate("ns/m", "pod-1"), log.within(event="ADDED"):
            logging.getLogger("x").warning("said %s", "it", extra={"delay": 1.5})
            written = [log.name_write(), log.name_write()]
        try:
            raise ValueError("no")  # noqa: TRY301
        except ValueError:
            logging.getLogger("x").exception("broke")
    finally:
        logging.getLogger().handlers[:] = before
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "said it"
    assert (first["pass"], first["key"], first["delay"], first["level"]) == ("pod-1", "ns/m", 1.5, "WARNING")
    assert first["event"] == "ADDED"
    assert written == ["pod-1.1", "pod-1.2"]
    assert log.name_write() == "", "outside of a pass the API server makes an id"
    assert "pass" not in second
    assert "ValueError: no" in second["exception"]


def test_metrics_tell_accepted_writes_from_reads_and_refusals() -> None:
    metrics = Metrics()
    metrics.count_request("apply", "Service", 200)
    metrics.count_request("apply", "Service", 422)
    metrics.count_request("get", "Service", 200)
    metrics.watch_queue(lambda: 3, lambda: 1.5)
    metrics.watch_streams(lambda: {"Pod": 0.0})
    text = metrics.text().decode()
    assert 'modelward_api_writes_total{kind="Service",verb="apply"} 1.0' in text
    assert 'modelward_api_requests_total{code="422",kind="Service",verb="apply"} 1.0' in text
    assert "modelward_queue_depth 3.0" in text
    assert "modelward_queue_oldest_seconds 1.5" in text
    assert 'modelward_watch_age_seconds{kind="Pod"}' in text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda children: st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abc"), VALUES.filter(lambda value: value is not None), max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    return value


@given(STATUSES, STATUSES)
def test_the_status_patch_leaves_exactly_what_is_wanted(live: Json, wanted: Json) -> None:
    live, wanted = without_nulls(live), without_nulls(wanted)
    assert wanted == merged(live, _replacing(live, wanted))


class Posts:
    """A client that takes Events."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken, self.bodies = broken, list[dict[str, Any]]()

    async def create(self, _resource: object, body: dict[str, Any], *, manager: str) -> None:
        if self.broken:
            raise Unreadable("no")
        assert manager == "modelward"
        self.bodies.append(body)


async def test_the_same_event_is_not_posted_again_within_a_minute() -> None:
    posts, now = Posts(), 0.0
    teller = Teller(cast("Client", posts), "pod-1", now=lambda: NOW, clock=lambda: now)
    news = News("Warning", "DigestMismatch", "pod a: other digest")
    for _ in range(3):
        await teller.tell(make_given(), [news])
    assert len(posts.bodies) == 1
    assert posts.bodies[0]["involvedObject"]["uid"] == "u-1"
    assert len(posts.bodies[0]["metadata"]["name"]) < 253
    now = 61.0
    await teller.tell(make_given(), [news])
    assert len(posts.bodies) == 2


async def test_an_event_that_cannot_be_posted_fails_nothing() -> None:
    await Teller(cast("Client", Posts(broken=True)), "pod-1").tell(make_given(), [News("Normal", "Serving", "ok")])


@pytest.mark.parametrize(
    ("refusal", "warnings"),
    [("because it is being terminated", 0), ("events is forbidden: no such right", 1)],
)
async def test_a_namespace_that_ends_is_no_warning(
    refusal: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        async def create(self, *_: object, **__: object) -> None:
            raise Rejected(refusal)

    await Teller(cast("Client", Refusing()), "pod-1").tell(make_given(), [News("Normal", "Serving", "ok")])
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == warnings

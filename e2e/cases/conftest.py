"""Starts the cases inside the cluster's network, gives each a namespace, and tells all that is known when one fails."""

import os
import secrets
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from e2e.cases import autoscalers, manifests, money, place
from e2e.cases import gateway as traefik
from e2e.cases.case import Case
from e2e.cases.diagnosis import diagnose
from e2e.cases.kube import Kube, connect
from e2e.cases.place import Store
from e2e.cases.tiny_models import write_all

RUN = secrets.token_hex(3)  # so that two runs on one cluster do not meet
_CASES = pytest.StashKey[Case]()
LONGEST = 600
"""Seconds for a whole case on a slow machine. Every wait in it has a limit of its own; this one is for what has none."""


def pytest_configure(config: pytest.Config) -> None:
    """Enter the cluster's network, with the terminal given back first: pytest has captured it by now."""
    if not place.inside() and not config.option.collectonly:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture:
            capture.suspend_global_capture(in_=True)
        place.enter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each case its time, unless it says another."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="session")
def kube() -> Iterator[Kube]:
    with connect() as connected:
        yield connected


@pytest.fixture(scope="session")
def store() -> Store:
    return place.store()


@pytest.fixture(scope="session")
def prefix(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Upload the small models once."""
    folder = tmp_path_factory.mktemp("models")
    write_all(folder)
    where = f"s3://{store.bucket}/cases-{RUN}"
    upload(folder, where + "/")
    return where


def upload(folder: Path, where: str) -> None:
    subprocess.run([str(place.PUT), str(folder), where], check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture
def case(kube: Kube, store: Store, prefix: str, request: pytest.FixtureRequest) -> Iterator[Case]:
    """A namespace under Pod Security `restricted`, with the credentials of the object store in it."""
    opened = open_case(kube, store, prefix, request.node.name)
    request.node.stash[_CASES] = opened
    yield opened
    kube.delete("Namespace", opened.namespace)


@pytest.fixture
def priced(case: Case) -> Iterator[Case]:
    """The case on a cluster where a core costs a fortune."""
    case.kube.apply(money.price_book())
    yield case
    case.kube.delete("PriceBook", money.BOOK)


@pytest.fixture(scope="module")
def host(store: Store) -> str:
    """The node's address, where autoscalers of others serve their numbers."""
    return str(urlsplit(store.endpoint).hostname)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory, host: str, kube: Kube) -> Iterator[None]:
    """A real metrics-server."""
    with autoscalers.metrics_server(tmp_path_factory.mktemp("metrics-server"), host, os.environ["KUBECONFIG"], kube):
        yield


@pytest.fixture(scope="module")
def keda(tmp_path_factory: pytest.TempPathFactory, host: str, kube: Kube) -> Iterator[None]:
    """A real KEDA."""
    with autoscalers.keda(tmp_path_factory.mktemp("keda"), host, os.environ["KUBECONFIG"], kube):
        yield


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, kube: Kube) -> Iterator[traefik.Gateway]:
    """A real Traefik."""
    with traefik.traefik(tmp_path_factory.mktemp("traefik"), kube) as serving:
        yield serving


def open_case(kube: Kube, store: Store, prefix: str, name: str) -> Case:
    words = name.partition("[")[0].removeprefix("test_").replace("_", "-")
    opened = Case(kube, f"{words[:40].strip('-')}-{secrets.token_hex(3)}", store, prefix)
    kube.apply(manifests.namespace(opened.namespace))
    opened.apply(manifests.credentials(store))
    return opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    opened = item.stash.get(_CASES, None)
    if report.failed and report.when == "call" and opened is not None:
        report.sections.append(("the cluster", diagnose(opened)))
    return report

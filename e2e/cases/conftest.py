"""Starts the cases inside the cluster's network, gives each a namespace, and tells all that is known when one fails."""

import secrets
import subprocess
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.cases import manifests, place
from e2e.cases.case import Case
from e2e.cases.diagnosis import diagnose
from e2e.cases.kube import Kube, connect
from e2e.cases.place import Store
from e2e.cases.tiny_models import write_all

RUN = secrets.token_hex(3)  # so that two runs on one cluster do not meet
_CASES = pytest.StashKey[Case]()


def pytest_configure(config: pytest.Config) -> None:
    """Enter the cluster's network, with the terminal given back first: pytest has captured it by now."""
    if not place.inside() and not config.option.collectonly:
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture:
            capture.suspend_global_capture(in_=True)
        place.enter()


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


def open_case(kube: Kube, store: Store, prefix: str, name: str) -> Case:
    words = name.partition("[")[0].removeprefix("test_").replace("_", "-")
    opened = Case(kube, f"{words[:40].strip('-')}-{secrets.token_hex(2)}", store, prefix)
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

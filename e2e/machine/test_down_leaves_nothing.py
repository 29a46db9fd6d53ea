"""`make down` leaves the machine as it was: processes, mounts, namespaces, interfaces, rules, cgroups, files.

It runs outside the cluster and takes it down and up, so it has a suite of its own: `make e2e SUITE=machine`. What the
first `up` on a machine leaves for good it cannot see, since others were here before: .ci/run compares with a bare machine.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from e2e.cluster import processes, snapshot
from e2e.cluster.paths import HERE


def cluster(command: str) -> None:
    """Run one command of the cluster."""
    subprocess.run([sys.executable, str(HERE), command], check=True, timeout=900)


@pytest.fixture
def machine_without_cluster() -> Iterator[None]:
    """Take the cluster down, and put it back afterwards for whoever comes next."""
    cluster("down")
    yield
    cluster("up")


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("machine_without_cluster")
def test_down_leaves_nothing() -> None:
    """Everything that `up` adds to the machine is gone after `down`, with running pods in it."""
    before = snapshot.take()
    cluster("up")
    during = snapshot.take()
    cluster("down")
    assert snapshot.compare(before, during), "the snapshot does not even see a running cluster"
    assert snapshot.compare(before, snapshot.take()) == []


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("machine_without_cluster")
def test_killed_up_is_cleared_by_down() -> None:
    """An `up` that is killed at any moment leaves something that `down` still removes."""
    before = snapshot.take()
    for moment in (0.3, 1.0, 3.0, 8.0):
        child = subprocess.Popen([sys.executable, str(HERE), "up"], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(moment)
        child.kill()
        child.wait()
        cluster("down")
        assert snapshot.compare(before, snapshot.take()) == [], f"killed after {moment} s"
    assert processes.init_pid() == 0


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("machine_without_cluster")
def test_killed_up_is_repaired_by_the_next() -> None:
    """After an `up` that was killed half-way, the next one brings up a whole cluster."""
    child = subprocess.Popen([sys.executable, str(HERE), "up"], stdout=subprocess.DEVNULL)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(4.0)
    child.kill()
    child.wait()
    cluster("up")
    cluster("status")

"""Kubernetes' own garbage collector beside a test's API server: kube-controller-manager with that one controller, under its own account."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.cluster.binaries import binary
from tests.integration.apiserver import ApiServer
from tests.ports import free_ports

PATIENCE = 60.0


@contextmanager
def garbage_collector(server: ApiServer) -> Iterator[None]:
    """Run it until the block ends; it knows of the kinds that are there when it begins."""
    (port,) = free_ports(1)
    log = server.folder / "kube-controller-manager.log"
    command = [
        str(binary("kube-controller-manager")),
        f"--kubeconfig={server.kubeconfig}",
        "--controllers=garbage-collector-controller",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={server.folder / 'service-account.key'}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={server.folder / 'controller-manager'}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "-v=2",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "GOGC": "200"})
    try:
        limit = time.monotonic() + PATIENCE
        while "Proceeding to collect garbage" not in log.read_text():
            if process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"the garbage collector does not work\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)

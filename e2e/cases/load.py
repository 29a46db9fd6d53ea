"""Callers without pause that count: what a rolling update must not disturb.

`SCRIPT` runs in a client pod over REST: half of its threads keep their connection, half open one for each request. Twice a
second it prints one JSON line with all counts so far. It runs by itself, so it imports nothing of ours. `GrpcLoad` calls from
the node over one lasting gRPC connection, as tritonclient makes it; `TritonLoad` over REST and gRPC, each in threads of its own.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import TracebackType

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from e2e.cases.clients import GRPC, HTTP, grpc, rest_binary

SCRIPT = r"""
import collections, http.client, json, sys, threading, time

host, model = sys.argv[1:3]
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 0]}]})
counts, failures, lock = collections.Counter(), [], threading.Lock()


def ask(connection):
    connection.request("POST", f"/v2/models/{model}/infer", BODY, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status} {text[:200]!r}")
    told = json.loads(text)
    return f'{told["model_version"]}:{told["outputs"][0]["data"][0]:g}'


def call(keep):
    connection = http.client.HTTPConnection(host, 8080, timeout=10)
    while True:
        try:
            key = ask(connection)
        except Exception as error:
            with lock:
                counts["failed"] += 1
                failures.append(f"{time.strftime('%H:%M:%S')} {'kept' if keep else 'fresh'}: {error!r}")
            connection.close()
        else:
            with lock:
                counts["answered"] += 1
                counts[key] += 1
        if not keep:
            connection.close()
        time.sleep(0.01)


for n in range(4):
    threading.Thread(target=call, args=(n % 2 == 0,), daemon=True).start()
while True:
    time.sleep(0.5)
    with lock:
        print(json.dumps({"counts": counts, "failures": failures[-5:]}), flush=True)
"""


class GrpcLoad:
    """Calls an adder in a thread while the `with` block runs; `answers` counts by what was added."""

    def __init__(self, host: str, model: str) -> None:
        self.answers: Counter[float] = Counter()
        self.failures: list[str] = []
        self._host, self._model = host, model
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._call)

    def __enter__(self) -> "GrpcLoad":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _call(self) -> None:
        zeros = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        zeros.set_data_from_numpy(np.zeros((1, 4), np.float32))
        client = tritonclient.grpc.InferenceServerClient(f"{self._host}:{GRPC}")
        while not self._ended.is_set():
            try:
                answer = client.infer(self._model, [zeros], client_timeout=10)
                self.answers[float(answer.as_numpy("y")[0, 0])] += 1
            except InferenceServerException as failure:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {failure}")
            time.sleep(0.01)
        client.close()


class TritonLoad:
    """Calls an adder over REST and gRPC while the `with` block runs: lasting connections, and one for each call. Counts by transport."""

    def __init__(self, host: str, model: str) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._host, self._model = host, model
        self._ended = threading.Event()
        ways = (("http", self._http), ("grpc", self._grpc), ("http", self._fresh_http), ("grpc", self._fresh_grpc))
        self._threads = [threading.Thread(target=self._repeat, args=way) for way in ways]

    def __enter__(self) -> "TritonLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, name: str, way: Callable[[], Iterator[None]]) -> None:
        for _ in way():
            self.answers[name] += 1
            if self._ended.wait(0.01):
                return

    def _http(self) -> Iterator[None]:
        client = tritonclient.http.InferenceServerClient(f"{self._host}:{HTTP}", network_timeout=90)
        zeros = tritonclient.http.InferInput("x", [1, 4], "FP32")
        zeros.set_data_from_numpy(_ZEROS)
        yield from self._calls("http", lambda: client.infer(self._model, [zeros]))
        client.close()

    def _grpc(self) -> Iterator[None]:
        client = tritonclient.grpc.InferenceServerClient(f"{self._host}:{GRPC}")
        zeros = tritonclient.grpc.InferInput("x", [1, 4], "FP32")
        zeros.set_data_from_numpy(_ZEROS)
        yield from self._calls("grpc", lambda: client.infer(self._model, [zeros], client_timeout=90))
        client.close()

    def _fresh_http(self) -> Iterator[None]:
        yield from self._calls("fresh http", lambda: rest_binary(self._host, self._model, {"x": _ZEROS}))

    def _fresh_grpc(self) -> Iterator[None]:
        yield from self._calls("fresh grpc", lambda: grpc(self._host, self._model, {"x": _ZEROS}))

    def _calls(self, name: str, call: Callable[[], object]) -> Iterator[None]:
        while True:
            try:
                call()
            except Exception as failure:  # noqa: BLE001  -- whatever a client is told is what is looked for
                self.failures.append(f"{time.strftime('%H:%M:%S')} {name}: {failure!r}")
                time.sleep(0.1)
            else:
                yield


_ZEROS = np.zeros((1, 4), np.float32)

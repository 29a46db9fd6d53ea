"""From zero to one and back, over and over, with clients that nobody here wrote: no call fails, and each gets its own answer."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.activators import Stage
from tests.onnx_models import WEIGHTS

pytestmark = pytest.mark.process
CYCLES, CALLERS = 4, 10


def predict_rest(port: int, number: int) -> None:
    """A row of its own, and its own answer; binary tensors both ways."""
    row = np.full((1, 4), number, np.float32)
    with triton_http.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=120) as client:
        tensor = triton_http.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(row)
        answer = client.infer("m", [tensor], request_id=str(number)).as_numpy("y")
    np.testing.assert_allclose(answer, row @ WEIGHTS)


def predict_grpc(port: int, number: int) -> None:
    row = np.full((1, 4), number, np.float32)
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        tensor = triton_grpc.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(row)
        answer = client.infer("m", [tensor], request_id=str(number), client_timeout=120)
        assert str(number) == answer.get_response().id
    np.testing.assert_allclose(answer.as_numpy("y"), row @ WEIGHTS)


def test_no_call_fails_over_cycles_from_zero_and_back(on: Stage) -> None:
    with ThreadPoolExecutor(2 * CALLERS) as pool:
        for cycle in range(CYCLES):
            calls: list[Any] = []
            for number in range(CALLERS):
                calls.append(pool.submit(predict_rest, on.ports[0], 100 * cycle + number))
                calls.append(pool.submit(predict_grpc, on.ports[1], 100 * cycle + number))
            on.until_held(2 * CALLERS)
            pod = on.begin_pod()
            for call in calls:
                call.result(120)
            assert 0 == on.held()
            on.list_pod(pod, ready=True)
            predict_rest(on.ports[0], 7)
            predict_grpc(on.ports[1], 7)
            on.end_pod(pod)


def keep_calling_rest(port: int, ended: threading.Event, calls: Counter[int], way: int) -> None:
    """One client for all of it, as an application has; counts the calls that it made under `way`."""
    with triton_http.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=120) as client:
        while not ended.is_set():
            row = np.full((1, 4), calls[way], np.float32)
            tensor = triton_http.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(row)
            np.testing.assert_allclose(client.infer("m", [tensor]).as_numpy("y"), row @ WEIGHTS)
            calls[way] += 1


def keep_calling_grpc(port: int, ended: threading.Event, calls: Counter[int], way: int) -> None:
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        while not ended.is_set():
            row = np.full((1, 4), calls[way], np.float32)
            tensor = triton_grpc.InferInput("x", [1, 4], "FP32")
            tensor.set_data_from_numpy(row)
            answer = client.infer("m", [tensor], client_timeout=120)
            np.testing.assert_allclose(answer.as_numpy("y"), row @ WEIGHTS)
            calls[way] += 1


def test_clients_that_never_stop_notice_nothing_while_pods_come_and_go(on: Stage) -> None:
    ended, calls = threading.Event(), Counter[int]()
    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(keep_calling_rest, on.ports[0], ended, calls, way) for way in (0, 1)]
        callers += [pool.submit(keep_calling_grpc, on.ports[1], ended, calls, way) for way in (2, 3)]
        try:
            for _ in range(CYCLES):
                on.until_held(4, 60)
                pod = on.begin_pod()
                on.activator.until(lambda: on.held() == 0, 60)
                on.list_pod(pod, ready=True)
                time.sleep(1)
                on.end_pod(pod)
            on.begin_pod()
            on.activator.until(lambda: on.held() == 0, 60)
        finally:
            ended.set()
        for caller in callers:
            caller.result(120)
    assert min(calls[way] for way in range(4)) > CYCLES, calls

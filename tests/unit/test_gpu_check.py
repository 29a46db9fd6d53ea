"""The script that checks a GPU: honest where there is none, and able to find a wrong answer."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2e.gpu import check
from modelward_runtime import cuda, engine, providers
from modelward_runtime.bound import Bound
from modelward_runtime.config import Cuda
from modelward_runtime.model import Array

ROOT = Path(__file__).parents[2]
CUDA_OF = {"1.31": "13"}
"""By version of onnxruntime-gpu: what its own `cuda_version` says that it was built for. Look there when the pin moves."""


def test_the_pages_name_the_cuda_that_the_pinned_wheel_wants() -> None:
    """Over another one the model serves on the processor, as if there were no GPU."""
    (pinned,) = re.findall(
        r"^onnxruntime-gpu==(\d+\.\d+)\.", (ROOT / "runtime/requirements-cuda.lock").read_text(), re.MULTILINE
    )
    for page in ("runtime/Dockerfile", "runtime/CODE.md", "operator/tasks/gpus.md", ".ci/lock"):
        named = re.findall(r"CUDA (\d+) and cuDNN 9", (ROOT / page).read_text())
        assert [CUDA_OF[pinned]] == named, page


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "SECONDS", 0.001)
    monkeypatch.setattr(check, "MODELS", ("tiny",))
    monkeypatch.setattr("e2e.bench.results.write", lambda *_: None)


@pytest.mark.skipif(cuda.memory() is not None, reason="there is a GPU, which the script itself checks")
def test_without_a_gpu_nothing_is_claimed(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == check.main([])
    assert capsys.readouterr().out.startswith(check.NOTHING)


@pytest.mark.usefixtures("quick")
def test_every_way_is_compared_and_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == check.main(["--on", "CPU"])
    told = capsys.readouterr().out
    for way in check.WAYS:
        assert f"tiny, {way}: not checked" in told or f"{way}, served" in told
    assert check.NOTHING not in told


@pytest.mark.usefixtures("quick")
def test_a_wrong_answer_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Bound.run

    def wrong(self: Bound, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        return [array * np.float32(1.001) for array in right(self, inputs, outputs)]

    monkeypatch.setattr(Bound, "run", wrong)
    with pytest.raises(SystemExit, match=r"tiny, padded: an answer to 1 rows is off by 0\.00"):
        check.main(["--on", "CPU"])


def test_pages_are_not_pinned_and_no_memory_is_claimed_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_library", lambda: None)
    assert not cuda.pin(np.zeros(4))
    assert cuda.memory() is None


class Library:
    """The CUDA runtime's calls that are made."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.registered: dict[int, int] = {}

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value, total._obj.value = 3, 10
        return self.code

    def cudaHostRegister(self, address: Any, size: Any, flags: int) -> int:  # noqa: N802
        self.registered[address.value] = size.value
        return self.code

    def cudaHostUnregister(self, address: Any) -> int:  # noqa: N802
        del self.registered[address.value]
        return 0


def test_pages_are_let_go_with_their_array(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(cuda, "_library", lambda: library)
    array = np.zeros(4, np.float32)
    assert cuda.pin(array)
    assert {array.ctypes.data: 16} == library.registered
    del array
    assert {} == library.registered
    assert (7, 10) == cuda.memory()


def test_what_the_library_refuses_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "_library", lambda: Library(code=100))  # cudaErrorNoDevice
    assert not cuda.pin(np.zeros(4))
    assert cuda.memory() is None


def test_nothing_that_a_provider_would_keep_is_asked_for() -> None:
    options = providers.tensor_rt_options(Cuda(tensor_rt=True))
    assert {"0"} == {value for name, value in options.items() if "cache" in name or "dump" in name}
    assert [providers.CPU] == providers.providers_of(engine.onnxruntime(), "CPU", Cuda(graphs=True))
    told = providers.cuda_options(Cuda(tf32=False, graphs=True, convolution_search="Exhaustive", memory_limit_bytes=5))
    assert {
        "use_tf32": "0",
        "enable_cuda_graph": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "gpu_mem_limit": "5",
    }.items() <= told.items()


@pytest.mark.parametrize(
    ("reason", "accelerator", "tensor_rt", "provider", "says"),
    [
        ("nothing was asked for", "CPU", True, "CPUExecutionProvider", ""),
        ("all is there", "CUDA", True, "TensorrtExecutionProvider", ""),
        ("TensorRT was not asked for", "CUDA", False, "CUDAExecutionProvider", ""),
        (
            "a build that knows TensorRT, without its libraries",
            "CUDA",
            True,
            "CUDAExecutionProvider",
            "TensorRT is asked for",
        ),
        ("no GPU", "CUDA", True, "CPUExecutionProvider", "CUDA is asked for"),
    ],
)
def test_what_the_session_lacks_is_told_by_what_it_has(
    reason: str, accelerator: str, tensor_rt: bool, provider: str, says: str
) -> None:
    told = providers.lacking(engine.onnxruntime(), accelerator, Cuda(tensor_rt=tensor_rt), provider)
    assert told.startswith(says), reason
    assert bool(told) == bool(says), reason

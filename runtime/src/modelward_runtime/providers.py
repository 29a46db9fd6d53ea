"""What ONNX Runtime is told before it makes a session: threads, memory, and the provider that computes.

Called by `engine.py`. Nothing that would write a file is ever asked for: neither TensorRT's engine and timing caches nor an optimised
model, since they hold weights and a sealed model's may lie on no disk. So TensorRT builds its engines anew at each start.

Sources: ONNX Runtime's provider options (onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and TensorRT-…).
"""

from types import ModuleType
from typing import Any, Final

from modelward_runtime.config import Cuda
from modelward_runtime.hardware import Hardware

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
GRAPH_ID: Final = "gpu_graph_id"  # of a run: the graph to capture or to replay
NO_GRAPH: Final = "-1"


def options_of(ort: ModuleType, threads: int, hardware: Hardware) -> Any:  # noqa: ANN401  onnxruntime is untyped
    """SessionOptions for so many threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if hardware.spinning else "0")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def providers_of(ort: ModuleType, accelerator: str, wanted: Cuda) -> list[Any]:
    """In the order in which they are asked whether they take a node; what this build does not know is left out.

    What it knows may still find no library, or no device: `lacking` tells.
    """
    if accelerator != "CUDA" or CUDA not in ort.get_available_providers():
        return [CPU]
    ort.preload_dlls()
    chosen: list[Any] = [(CUDA, cuda_options(wanted)), CPU]
    if wanted.tensor_rt and TENSORRT in ort.get_available_providers():
        return [(TENSORRT, tensor_rt_options(wanted)), *chosen]
    return chosen


def lacking(ort: ModuleType, accelerator: str, wanted: Cuda, provider: str) -> str:
    """What was asked for and is not to be had, where `provider` is the first of the session's; empty: nothing."""
    if accelerator != "CUDA":
        return ""
    if provider == CPU:
        return f"CUDA is asked for and cannot be used here: serving on {CPU}; this is ONNX Runtime {ort.__version__}, {wants(ort)}"
    if wanted.tensor_rt and provider != TENSORRT:
        return f"TensorRT is asked for and is not installed here: serving on {provider}"
    return ""


def wants(ort: ModuleType) -> str:
    """What this ONNX Runtime asks for to compute on a GPU, for people."""
    built_for = getattr(ort, "cuda_version", "")
    return f"it wants CUDA {built_for} and cuDNN 9, and a GPU" if built_for else "it is built without CUDA"


def cuda_options(wanted: Cuda) -> dict[str, str]:
    """The arena grows by what is asked for and not by doubling: a GPU is often shared, and always dear."""
    options = {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": wanted.convolution_search.upper(),
        "use_tf32": str(int(wanted.tf32)),
        "enable_cuda_graph": str(int(wanted.graphs)),
    }
    if wanted.memory_limit_bytes is not None:
        options["gpu_mem_limit"] = str(wanted.memory_limit_bytes)
    return options


def tensor_rt_options(wanted: Cuda) -> dict[str, str]:
    """Nothing is kept on a disk."""
    return {
        "trt_engine_cache_enable": "0",
        "trt_timing_cache_enable": "0",
        "trt_dump_subgraphs": "0",
        "trt_dump_ep_context_model": "0",
        "trt_cuda_graph_enable": str(int(wanted.graphs)),
    }


def quiet_runs(ort: ModuleType, *, graphs: bool = False, graph: int = 0) -> Any:  # noqa: ANN401  onnxruntime is untyped
    """RunOptions: ONNX Runtime writes what failed to stderr, values of the caller included, and its exception says it as well.

    Where the session captures `graphs`, a run belongs to the graph of that number, from 1 on, or to none.
    """
    options = ort.RunOptions()
    options.log_severity_level = 4  # fatal
    if graphs:
        options.add_run_config_entry(GRAPH_ID, str(graph) if graph else NO_GRAPH)
    return options

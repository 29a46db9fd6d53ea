"""`modelward serve --reload` and `--repository` from outside: under load, with clients that nobody here wrote, and what a person reads."""

import contextlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from modelward_runtime.store.verify import digest_of
from tests.collector import attributes, collect
from tests.onnx_models import linear, save, scaled
from tests.ports import free_ports
from tests.processes import COMMAND, Process, call, command, run, serve
from tests.sealed_folders import IDENTITY, write_signing_key
from tests.sealed_models import SIDE, make_model, with_marker

pytestmark = pytest.mark.process

ONES = np.ones((1, 4), np.float32)
FACTOR = 18.0  # of the first column: the sum of the weights
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextlib.contextmanager
def repository(folder: Path, at: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """`modelward serve --repository`, whose first lines are in `process.lines`."""
    http_port, grpc_port, admin_port = ports = free_ports(3)
    arguments = ["serve", "--repository", str(folder), "--http-port", str(http_port), "--grpc-port", str(grpc_port)]
    arguments += ["--admin-port", str(admin_port), *options]
    with command(at, arguments, ports, environment or {}) as process:
        yield process


def lines(process: Process) -> list[str]:
    """What it prints until all models were tried."""
    assert process.child.stdout is not None
    found: list[str] = []
    while not (found and " serve: REST " in found[-1]):
        line = process.child.stdout.readline()
        assert line, process.log()
        found.append(line.rstrip())
    return found


class Client:
    """tritonclient, over either transport."""

    def __init__(self, transport: str, process: Process) -> None:
        self.kind: Any = triton_grpc if transport == "grpc" else triton_http
        port = process.ports[1 if transport == "grpc" else 0]
        self.client: Any = self.kind.InferenceServerClient(f"127.0.0.1:{port}")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def infer(self, model: str) -> float:
        """18 times what the model multiplies by."""
        tensor = self.kind.InferInput("x", [1, 4], "FP32")
        tensor.set_data_from_numpy(ONES)
        return float(self.client.infer(model, [tensor]).as_numpy("y")[0, 0]) / FACTOR

    def index(self) -> dict[str, str]:
        found = self.client.get_model_repository_index()
        if self.kind is triton_grpc:
            return {one.name: one.state for one in found.models}
        return {one["name"]: one["state"] for one in found}


class Load:
    """Callers who ask without a pause, over both transports, until the block ends."""

    def __init__(self, process: Process, model: str) -> None:
        self.process, self.model = process, model
        self.seen: set[float] = set()
        self.answers = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(t,)) for t in ("http", "grpc")]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, transport: str) -> None:
        with Client(transport, self.process) as client:
            while not self._stop.is_set():
                try:
                    self.seen.add(client.infer(self.model))
                    self.answers += 1
                except Exception as error:  # noqa: BLE001  whatever it is, the test fails by it
                    self.failures.append(repr(error))


# ── --reload ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reload_under_load_fails_no_request(tmp_path: Path) -> None:
    path = save(scaled(1), tmp_path / "m.onnx")
    with serve(path, tmp_path / "p", "--reload") as process:
        process.until_ready()
        with Load(process, "m") as load:
            for factor in (2.0, 3.0):
                new = save(scaled(factor), tmp_path / "new.onnx")
                if factor == 2:
                    new.rename(path)
                else:
                    shutil.copyfile(new, path)
                process.until(lambda factor=factor: factor in load.seen)
            path.write_bytes(path.read_bytes()[:60])
            process.until(lambda: "the new version is not served, the old one goes on" in process.log())
            before = load.answers
            process.until(lambda: load.answers > before + 20)
        assert [] == load.failures
        assert {1.0, 2.0, 3.0} == load.seen
        with Client("http", process) as client:
            assert 3 == client.infer("m")
        report = process.report()
        assert ("InvalidModel", "Ready") == (report["failure"]["reason"], report["state"])
        process.signal()
        assert process.exit_code() == 0


def test_a_sealed_model_is_reloaded_only_if_somebody_trusted_has_signed_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    first = make_model(tmp_path, name="first")
    options = {"--kek": first.kek_file, "--trust": write_signing_key(tmp_path)[1], "--tenant": IDENTITY.tenant}
    options |= {"--name": IDENTITY.model, "--model-version": IDENTITY.version}
    flags = [str(word) for pair in options.items() for word in pair]
    shutil.copytree(first.folder, place)
    with serve(place, tmp_path / "p", "--reload", *flags) as process:
        process.until_ready()
        digest = process.report()["model"]["digest"]
        exchange_folders(make_model(tmp_path, name="second", signer="mallory", seed="2").folder, place)
        process.until(lambda: "the new version is not served, the old one goes on" in process.log())
        assert (200, digest) == (process.get("/readyz")[0], process.report()["model"]["digest"])
        assert "SignerUntrusted" == process.report()["failure"]["reason"]
        third = make_model(tmp_path, name="third", seed="3").folder
        exchange_folders(third, place)
        process.until(lambda: process.report()["model"]["digest"] == digest_of(place))
        told = process.report()
        assert (None, True, "ci") == (told["failure"], told["model"]["encrypted"], told["model"]["signer"]["name"])
        status, _, _ = process.infer(IDENTITY.model, np.eye(3, SIDE, dtype=np.float32).tolist())
        assert 200 == status
        assert [] == with_marker(process, tmp_path), "no version of it was ever written down in the clear"


def exchange_folders(new: Path, place: Path) -> None:
    """As `mv` does: for a moment nothing is there."""
    place.rename(place.with_name(f"before-{new.name}"))
    new.rename(place)


# ── --repository ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models, and one that is none."""
    save(scaled(1), tmp_path / "models/flat.onnx")
    save(scaled(2), tmp_path / "models/deep/1/model.onnx")
    save(scaled(3), tmp_path / "models/deep/2/model.onnx")
    (tmp_path / "models/bad.onnx").write_bytes(b"no model")
    return tmp_path / "models"


def load_and_unload(http: Client, grpc: Client) -> None:
    """Each by both clients; what the one does the other sees."""
    for client in (http, grpc):
        assert {"bad": "UNAVAILABLE", "deep": "READY", "flat": "READY"} == client.index()
        assert (1, 3) == (client.infer("flat"), client.infer("deep"))
        assert (True, False) == (client.client.is_model_ready("flat"), client.client.is_server_ready())
        with pytest.raises(InferenceServerException, match="no such version here, only '2'"):
            client.client.get_model_metadata("deep", "1")
        with pytest.raises(InferenceServerException, match="could not be loaded: InvalidModel"):
            client.client.load_model("bad")
        with pytest.raises(InferenceServerException, match="the repository holds no such model"):
            client.client.load_model("nowhere")
        with pytest.raises(InferenceServerException, match="parameter 'config' is not served"):
            client.client.load_model("flat", config="{}")
        client.client.unload_model("flat")
        for other in (http, grpc):
            assert "UNAVAILABLE" == other.index()["flat"]
            with pytest.raises(InferenceServerException, match="that model is not served here"):
                other.infer("flat")
        client.client.load_model("flat")
        assert 1 == client.infer("flat")


def test_triton_s_clients_load_and_unload(folder: Path, tmp_path: Path) -> None:
    with repository(folder, tmp_path / "p") as process:
        told = lines(process)
        with Client("http", process) as http, Client("grpc", process) as grpc:
            load_and_unload(http, grpc)
            http.client.unload_model("bad")
            assert http.client.is_server_ready()
        assert told[0].startswith("bad version 1 is not served: InvalidModel: bad.onnx is not an ONNX model")
        assert f"deep version 2 is ready: REST http://127.0.0.1:{process.ports[0]}/v2/models/deep" == told[1]
        assert told[3].startswith(f"2 of 3 models of {folder} serve: REST http://127.0.0.1:{process.ports[0]}  gRPC ")
        assert (200, "ready\n") == process.get("/readyz")
        assert 'modelward_requests_total{code="OK",model="deep",transport="grpc"} 1.0' in process.get("/metrics")[1]
        assert "nowhere" not in process.log()
        process.signal()
        assert process.exit_code() == 0


def test_sealed_models_of_a_repository_are_held_to_their_folders_names(tmp_path: Path) -> None:
    sealed = make_model(tmp_path)
    shutil.copytree(sealed.folder, tmp_path / "models" / IDENTITY.model / IDENTITY.version)
    shutil.copytree(sealed.folder, tmp_path / "models/another" / IDENTITY.version)
    save(linear(), tmp_path / "models/plain.onnx")
    public = write_signing_key(tmp_path)[1]
    flags = ["--kek", str(sealed.kek_file), "--trust", str(public), "--tenant", IDENTITY.tenant]
    with repository(tmp_path / "models", tmp_path / "p", *flags) as process:
        another, own, plain, _ = lines(process)
        assert own.startswith(f"{IDENTITY.model} version {IDENTITY.version} is ready")
        assert "another version 7 is not served: SealMismatch" in another
        assert "plain version 1 is not served: NotSealed" in plain
        assert 200 == process.infer(IDENTITY.model, np.eye(3, SIDE, dtype=np.float32).tolist())[0]
        assert [] == with_marker(process, tmp_path)


def test_models_that_are_chosen_and_a_folder_that_is_followed_under_load(folder: Path, tmp_path: Path) -> None:
    with repository(folder, tmp_path / "p", "--load", "deep", "--reload") as process:
        assert ["bad", "deep", "flat"] == [line.split()[0] for line in lines(process)[:-1]]
        assert 200 == process.get("/readyz")[0], "what was chosen serves"
        with Load(process, "deep") as load:
            process.until(lambda: 3.0 in load.seen)
            save(scaled(4), tmp_path / "new/model.onnx")
            (tmp_path / "new").rename(folder / "deep/10")
            process.until(lambda: 4.0 in load.seen)
            with Client("http", process) as client:
                client.client.load_model("flat")
            before = load.answers
            process.until(lambda: load.answers > before + 20)
        assert ([], {3.0, 4.0}) == (load.failures, load.seen)
        told = {one["name"]: (one["version"], one["state"]) for one in process.report()["models"]}
        assert {"bad": ("1", "UNAVAILABLE"), "deep": ("10", "READY"), "flat": ("1", "READY")} == told


def test_whoever_means_a_repository_is_told_so(folder: Path) -> None:
    (folder / "flat.onnx").unlink()
    (folder / "bad.onnx").unlink()
    done = subprocess.run([COMMAND, "serve", str(folder)], capture_output=True, text=True, check=False)
    assert (1, True) == (done.returncode, f"or all of them with --repository {folder}\n" in done.stderr)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give either PATH, one model, or --repository DIR"),
        (["x.onnx", "--repository", "y"], "give either PATH, one model, or --repository DIR"),
        (["x.onnx", "--load", "m"], "give --repository DIR too"),
        (["x.onnx", "--name", "a/b"], "'a/b' cannot be part of a path that callers ask for: give another --name"),
        (
            ["x.onnx", "--model-version", "1\n"],
            r"'1\n' cannot be part of a path that callers ask for: give another --model",
        ),
        (["--repository", "/nowhere"], "/nowhere is no folder"),
        (["--repository", "/tmp", "--name", "m"], "in a repository folders and files say them"),
        (["--repository", "/tmp", "--kek", "k"], "give --trust PUB.pem --tenant T too"),
    ],
)
def test_flags_that_do_not_go_together_are_told(flags: list[str], said: str) -> None:
    done = subprocess.run([COMMAND, "serve", *flags], capture_output=True, text=True, check=False)
    assert 1 == done.returncode
    assert said in done.stderr


# ── following requests ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pod_traces_what_boot_json_says_and_loads_nothing_at_a_callers_wish(tmp_path: Path) -> None:
    save(linear(), tmp_path / "m/model.onnx")
    environment = {"POD_NAME": "m-1", "POD_NAMESPACE": "risk", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with collect() as collector:
        wanted = {"tracing": {"endpoint": collector.endpoint, "sampling": "0"}, "slowRequestMilliseconds": 1}
        source = {"directory": str(tmp_path / "m")}
        with run(tmp_path / "p", source, environment=environment, observability=wanted) as process:
            process.until_ready()
            assert 200 == process.infer("m", [[1, 2, 3, 4]])[0]
            sent = {"traceparent": PARENT, "content-type": "application/json"}
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
            path = "/v2/models/m/infer"
            assert 200 == call(process.ports[0], "POST", path, json.dumps(body).encode(), headers=sent)[0]
            for transport in ("http", "grpc"):
                with Client(transport, process) as client:
                    for ask in (client.client.load_model, client.client.unload_model):
                        with pytest.raises(InferenceServerException, match="the model of this server is fixed"):
                            ask("m")
            process.signal()
            assert process.exit_code() == 0
        (span,) = collector.wait_for("POST /v2/models/{name}/infer")
    assert PARENT.split("-")[1] == span.trace_id.hex(), "of the others none is traced"
    (resource,) = collector.resources
    known = {"service.name": "m", "k8s.namespace.name": "risk", "k8s.pod.name": "m-1"}
    assert known.items() <= resource.items()


def test_slow_requests_and_traces_over_both_transports(tmp_path: Path) -> None:
    path = save(linear(), tmp_path / "m.onnx")
    ports = free_ports(3)
    arguments = ["serve", str(path), "--slow-ms", "1"]
    for flag, port in zip(("--http-port", "--grpc-port", "--admin-port"), ports, strict=True):
        arguments += [flag, str(port)]
    with collect() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with command(tmp_path / "p", arguments, ports, environment) as process:
            process.until_ready()
            body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
            sent = {"traceparent": PARENT, "content-type": "application/json"}
            status, _, _ = call(ports[0], "POST", "/v2/models/m/infer", json.dumps(body).encode(), headers=sent)
            assert 200 == status
            with Client("grpc", process) as grpc, Client("http", process) as http:
                tensor = grpc.kind.InferInput("x", [1, 4], "FP32")
                tensor.set_data_from_numpy(ONES)
                grpc.client.infer("m", [tensor], headers={"traceparent": PARENT})
                big = np.ones((60_000, 4), np.float32)  # takes longer than a millisecond, wherever this runs
                wish = http.kind.InferInput("x", list(big.shape), "FP32")
                wish.set_data_from_numpy(big, binary_data=False)
                http.client.infer("m", [wish])
            process.signal()
            assert process.exit_code() == 0, "what is left is sent before the end"
            log = process.log()
        (rest, _) = collector.wait_for("POST /v2/models/{name}/infer", 2)
        (rpc,) = collector.wait_for("inference.GRPCInferenceService/ModelInfer")
    for span, code in ((rest, ("http.response.status_code", 200)), (rpc, ("rpc.response.status_code", "OK"))):
        assert PARENT.split("-")[1:3] == [span.trace_id.hex(), span.parent_span_id.hex()]
        assert code in attributes(span).items()
        assert {"decode", "queue", "run", "encode"} <= set(collector.children(span))
    assert {"m"} == {resource["service.name"] for resource in collector.resources}
    slow = [one for one in map(json.loads, log.splitlines()) if one["logger"] == "modelward.slow"]
    assert slow, "the large one is among them"
    assert ("rest", "m", "200") == tuple(slow[-1][key] for key in ("transport", "model", "code"))
    assert slow[-1]["seconds"] >= 0.001
    assert sum(slow[-1]["stageSeconds"].values()) <= slow[-1]["seconds"] + 1e-4

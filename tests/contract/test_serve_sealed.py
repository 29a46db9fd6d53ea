"""`modelward serve` of a sealed folder from outside: it answers as the plain model does, tells what it needs, and leaves no plaintext."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelward_runtime.store.verify import digest_of
from tests.processes import COMMAND, Process, run, serve
from tests.sealed_folders import IDENTITY, Sealed, write_signing_key
from tests.sealed_models import MARKER, SIDE, make_model, put_plain, sealed_boot, weights, with_marker

pytestmark = pytest.mark.process

ROWS = np.eye(3, SIDE, dtype=np.float32)


def flags(sealed: Sealed, home: Path) -> list[str]:
    """What a sealed folder demands."""
    public = write_signing_key(home)[1]
    given = {
        "--kek": sealed.kek_file,
        "--trust": public,
        "--tenant": IDENTITY.tenant,
        "--name": IDENTITY.model,
        "--model-version": IDENTITY.version,
    }
    return [str(word) for pair in given.items() for word in pair]


def predictions(process: Process) -> Any:
    process.until_ready()
    status, _, answer = process.infer(IDENTITY.model, ROWS.tolist())
    assert status == 200, answer
    return np.array(answer["outputs"][0]["data"], np.float32).reshape(3, SIDE)


@pytest.mark.parametrize("split", [False, True])
def test_it_answers_and_its_weights_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    """The whole of what the process can write is searched: its working directory, TMPDIR, HOME, cache, logs, descriptors."""
    scratch = tmp_path / "scratch"
    for name in ("cwd", "tmp", "home"):
        (scratch / name).mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(scratch / "tmp"))
    monkeypatch.setenv("HOME", str(scratch / "home"))
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.chdir(scratch / "cwd")
    sealed = make_model(tmp_path, split=split)
    with serve(sealed.folder, scratch / "p", *flags(sealed, tmp_path), apart=True) as process:
        np.testing.assert_allclose(ROWS @ weights(), predictions(process), rtol=1e-6)
        model = process.report()["model"]
        assert ("k1", True, digest_of(sealed.folder)) == (model["keyId"], model["encrypted"], model["digest"])
        assert [] == with_marker(process, scratch, sealed.folder)
        limits = Path(f"/proc/{process.child.pid}/limits").read_text()
        assert ["0", "0"] == next(line for line in limits.splitlines() if "core file" in line).split()[4:6]
        assert process.is_closed()
        assert MARKER.hex() not in process.get("/metrics")[1] + process.log()


def test_the_search_finds_the_marker_of_a_plain_model(tmp_path: Path) -> None:
    sealed = make_model(tmp_path)
    plain = put_plain(tmp_path / "plain", sealed.files)
    with serve(plain, tmp_path / "p", "--name", IDENTITY.model) as process:
        predictions(process)
        assert [str(plain / "model.onnx")] == with_marker(process, plain)


def test_it_loads_and_answers_where_it_can_write_to_no_file_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it loads, and what it would remove again: with RLIMIT_FSIZE 0 no byte gets into a file, be it of a tmpfs or a memfd."""
    sealed = make_model(tmp_path)
    unable = tmp_path / "unable"
    unable.write_text(f'#!/bin/sh\nulimit -f 0\nexec "{COMMAND}" "$@" 2>/dev/null\n')
    unable.chmod(0o755)
    monkeypatch.setattr("tests.processes.COMMAND", unable)
    with serve(sealed.folder, tmp_path / "p", *flags(sealed, tmp_path)) as process:
        np.testing.assert_allclose(ROWS @ weights(), predictions(process), rtol=1e-6)
        limits = Path(f"/proc/{process.child.pid}/limits").read_text()
        assert ["0", "0"] == next(line for line in limits.splitlines() if "Max file size" in line).split()[3:5]


def test_a_pod_serves_it_and_a_wrong_key_never_becomes_ready(tmp_path: Path) -> None:
    sealed = make_model(tmp_path)
    boot = sealed_boot(tmp_path, sealed)
    assert boot.security is not None
    security = {
        "tenant": IDENTITY.tenant,
        "encryption": {"mode": "Required", "keys": {"provider": "Secret", "directory": str(tmp_path / "keys")}},
        "verification": {"mode": "Required", "trustDirectory": str(tmp_path / "trust")},
    }
    source = {"name": IDENTITY.model, "version": IDENTITY.version, "directory": str(sealed.folder)}
    with run(tmp_path / "p", source, security=security) as process:
        np.testing.assert_allclose(ROWS @ weights(), predictions(process), rtol=1e-6)
        assert {"name": "ci"}.items() <= process.report()["model"]["signer"].items()
        working = str(Path(f"/proc/{process.child.pid}/cwd").readlink())
        assert working in {"/var/empty", "/"}
        (tmp_path / "keys" / "k1").unlink()  # the key service goes away: what serves goes on
        np.testing.assert_allclose(ROWS @ weights(), predictions(process), rtol=1e-6)
    (tmp_path / "keys" / "k1").write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    with run(tmp_path / "q", source, security=security) as process:
        assert 78 == process.exit_code()
        assert ("KeyWrong", "decrypt") == (process.termination()["reason"], process.termination()["stage"])


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--kek FILE --trust PUB.pem --tenant T --name N --model-version V"),
        (["--kek", "k", "--trust", "t", "--name", "n"], "--tenant T --model-version V"),
    ],
)
def test_a_sealed_folder_says_what_it_demands(tmp_path: Path, given: list[str], missing: str) -> None:
    folder = make_model(tmp_path).folder
    done = subprocess.run([COMMAND, "serve", str(folder), *given], capture_output=True, text=True, check=False)
    assert 1 == done.returncode
    assert f"modelward serve: {folder} is a sealed model: give {missing} too\n" == done.stderr


def test_digest_prints_the_manifests(tmp_path: Path) -> None:
    folder = make_model(tmp_path).folder
    done = subprocess.run([COMMAND, "digest", str(folder)], capture_output=True, text=True, check=True)
    assert digest_of(folder / "manifest.json") == done.stdout.strip()

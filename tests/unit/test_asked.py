"""Commands that are cut short, or whose answer nobody can take: an exit code and words, no traceback, and nothing half-made."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modelward_runtime import asked
from tests import onnx_models

PROGRAM = "import sys; from modelward_runtime import cli; cli.main(sys.argv[1:])"
LINGER = """
import signal, sys, time
from modelward_runtime import cli
from modelward_runtime.store.sealed import writing
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs the tests in the background has it ignored
def linger(*_):
    print("it has begun", flush=True)
    time.sleep(600)
writing.write_file = linger  # the data is there, the manifest is next
cli.main(sys.argv[1:])
"""


def command(*words: object, program: str = PROGRAM) -> list[str]:
    return [sys.executable, "-c", program, *map(str, words)]


def keygen(folder: Path, kind: str = "kek") -> Path:
    file = folder / kind
    subprocess.run(command("keygen", kind, "--out", file), check=True, capture_output=True)
    return file


def test_a_full_disk_is_said_and_is_no_verdict(tmp_path: Path) -> None:
    """1 would say that the log is not whole."""
    keygen(tmp_path, "audit")
    (tmp_path / "log.jsonl").write_text("x\n")
    words = ("audit", "verify", tmp_path / "log.jsonl", "--trust", tmp_path / "audit.pub.pem")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command(*words), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (2, "modelward audit: No space left on device\n") == (done.returncode, done.stderr)


def test_who_hangs_up_hears_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command("completion", "bash"), stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    assert (128 + signal.SIGPIPE, "") == (done.returncode, done.stderr)


def test_without_a_stdout_the_exit_code_is_the_answer(tmp_path: Path) -> None:
    words = command("keygen", "kek", "--out", tmp_path / "kek")
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *words], stderr=subprocess.PIPE, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    assert (tmp_path / "kek").exists()


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "modelward seal: interrupted\n"), (signal.SIGTERM, 143, "")],
    ids=["Ctrl-C", "a pipeline's cancel"],
)
def test_a_sealing_that_is_broken_off_takes_back_what_it_has_begun(
    tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    model = onnx_models.save(onnx_models.slow(), tmp_path / "slow.onnx")
    kek, key = keygen(tmp_path), keygen(tmp_path, "signing")
    before = sorted(path.name for path in tmp_path.iterdir())
    bound = ("--tenant", "t", "--name", "n", "--version", "1", "--kek", kek, "--kek-id", "k", "--sign-key", key)
    words = command("seal", model, tmp_path / "sealed", *bound, program=LINGER)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stderr
        assert "it has begun\n" == child.stdout.readline()
        assert [".sealing"] == [path.suffix for path in tmp_path.iterdir() if path.name not in before]
        child.send_signal(number)
        assert (code, said) == (child.wait(60), child.stderr.read())
    assert before == sorted(path.name for path in tmp_path.iterdir())


def test_what_the_system_says_is_told_with_its_file_where_it_has_one() -> None:
    assert "a: No such file or directory" == asked.told(FileNotFoundError(2, "No such file or directory", "a"))
    assert "Input/output error" == asked.told(OSError(5, "Input/output error"))
    assert "cannot seek" == asked.told(OSError("cannot seek"))

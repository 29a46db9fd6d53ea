"""ONNX Runtime sends nothing: the kernel itself ends a process that opens a socket, and nothing is written below $HOME.

The proof is a seccomp filter that a child installs on itself before importing anything: the first socket(2) of any kind, by
Python, by the library or by a thread of it, kills the process with SIGSYS. That the trap works is shown first.
"""

import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.onnx_models import linear, save

SOCKET_CALL = {"x86_64": 41, "aarch64": 198}
ROOT = Path(__file__).parents[2]

TRAP = """
import ctypes, sys
class Filter(ctypes.Structure):
    _fields_ = [("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32)]
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.POINTER(Filter))]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
KILL_PROCESS, ALLOW = 0x80000000, 0x7FFF0000
rules = (Filter * 4)(
    Filter(LOAD, 0, 0, 0),                 # the number of the system call
    Filter(EQUAL, 0, 1, {socket_call}),    # socket(2)?
    Filter(RETURN, 0, 0, KILL_PROCESS),
    Filter(RETURN, 0, 0, ALLOW),
)
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(4, rules)), 0, 0) == 0, "no seccomp here"
"""

SERVE = """
import time
from pathlib import Path
from modelward_runtime import engine
from modelward_runtime.hardware import Hardware
model = engine.load(Path(sys.argv[1]), "m", "1", hardware=Hardware(1, None))
engine.warm_up(model)
time.sleep(float(sys.argv[2]))
print("quiet")
"""

OPEN = """
import socket
socket.socket()
print("opened")
"""


def run(script: str, home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    call = SOCKET_CALL.get(platform.machine())
    if call is None:
        pytest.skip(f"the number of socket(2) on {platform.machine()} is not written down here")
    code = TRAP.replace("{socket_call}", str(call)) + script
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_trap_catches_a_socket(tmp_path: Path) -> None:
    trapped = run(OPEN, tmp_path)
    assert trapped.returncode == -signal.SIGSYS, trapped.stderr
    assert "opened" not in trapped.stdout


def test_loading_and_running_a_model_opens_no_socket_and_writes_no_device_id(tmp_path: Path) -> None:
    file = save(linear(), tmp_path / "m/model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    served = run(SERVE, home, str(file), "3")
    assert (0, "quiet\n") == (served.returncode, served.stdout), served.stderr
    assert list(home.rglob("*")) == [], "ONNX Runtime wrote its device id"

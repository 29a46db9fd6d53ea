"""How far the memory of a command rises: in a process of its own, whose peak is nobody else's."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

_SCRIPT: Final = """
import re, sys
from pathlib import Path
from modelward_runtime import cli, main
import modelward_runtime.sealing, modelward_runtime.store.push
main.harden = lambda: None
def peak():  # not ru_maxrss, which a process inherits from the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
before = peak()
try:
    cli.main(sys.argv[1:])
finally:
    print((peak() - before) // 1024)
"""


def growth(words: Sequence[str]) -> int:
    """Return the MiB by which `modelward WORDS` rises above its imports at most. Raises CalledProcessError where it fails."""
    told = subprocess.run([sys.executable, "-c", _SCRIPT, *words], capture_output=True, text=True, check=True)
    return int(told.stdout.splitlines()[-1])

"""Hands on the node of the embedded cluster, whose mounts are its own: what an administrator of the node would do there.

Used by the cases about volumes, for what no pod may do.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Final

_VOLUMES: Final = PurePosixPath("/tmp/hostpath_pv")


def on_node(*command: str, given: bytes | None = None) -> bytes:
    """Run a program among the node's mounts; what it prints."""
    inside = ["nsenter", f"--target={os.environ['MODELWARD_CLUSTER_PID']}", "--mount", "--pid", "--"]
    return subprocess.run([*inside, *command], input=given, capture_output=True, check=True, timeout=60).stdout


@contextmanager
def small_disk(name: str, kibibytes: int) -> Iterator[str]:
    """A folder of the node that holds so much, in memory, and that anybody may write to; its path."""
    path = str(_VOLUMES / name)
    on_node("mkdir", "-p", path)
    on_node("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k,mode=1777", "none", path)
    try:
        yield path
    finally:
        on_node("umount", "--lazy", path)  # a pod may have it still
        on_node("rmdir", path)

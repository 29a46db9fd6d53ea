"""What opening a sealed model costs at the least: the yardsticks of suite sealed.

    AES-GCM   of `cryptography` alone, for the model's bytes, on as many threads: time only
    the rest  what no sealed model can do without, whatever its size, in a process of its own that has already imported what a plain
              model needs: import `cryptography`, check two P-256 signatures, unwrap one key, derive two

`sealed.py` calls it. It must not use our own code for anything that it measures.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_STEP = 1 << 20  # bytes of a segment
_REST = """
import gc, re, time
import modelward_runtime.main, modelward_runtime.serve

def peak():
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])

gc.disable()
held = peak()
began, worked = time.perf_counter(), time.process_time()
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
generator = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), generator)
for _ in range(2):
    try:  # r = s = 1: as much work as a right one
        key.verify(bytes.fromhex("3006020101020101"), b"", ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        pass
unwrapped = AESGCM(bytes(32)).decrypt(bytes(12), AESGCM(bytes(32)).encrypt(bytes(12), bytes(32), b""), b"")
for _ in range(2):
    HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"").derive(unwrapped)
print(time.perf_counter() - began, time.process_time() - worked, peak() - held)
"""


class Cost(NamedTuple):
    """Seconds of the clock, and of processors; bytes of memory that the process had not needed before."""

    seconds: float
    cpu: float
    memory: float = 0.0


def aes_gcm(size: int, threads: int) -> Cost:
    """The cost of bare AES-GCM for so many bytes in segments of 1 MiB, shared by so many threads, from memory into fresh memory."""
    cipher, nonce = AESGCM(bytes(32)), bytes(12)
    count = -(-size // _STEP)
    sealed = [cipher.encrypt(nonce, bytes(_STEP), None) for _ in range(count)]
    into = memoryview(mmap.mmap(-1, count * _STEP, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))

    def work(first: int) -> None:
        for number in range(first, count, threads):
            cipher.decrypt_into(nonce, sealed[number], None, into[number * _STEP : (number + 1) * _STEP])

    began, worked = time.monotonic(), time.process_time()
    workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Cost(time.monotonic() - began, time.process_time() - worked)


def rest(surroundings: dict[str, str]) -> Cost:
    """The cost of what does not depend on the size; `surroundings` as of the starts that it is compared with."""
    done = subprocess.run([sys.executable, "-c", _REST], env=surroundings, capture_output=True, text=True, check=True)
    return Cost(*map(float, done.stdout.split()))


def surroundings(bytecode: Path) -> dict[str, str]:
    """The environment of a start: the image has all modules compiled; here the first round does it."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(bytecode)}

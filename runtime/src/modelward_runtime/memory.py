"""Plaintext of a sealed model: where it lies while it is loaded, and how it goes away.

`load.py` makes a `Plaintext`, the sealed format decrypts into it, `engine.py` gives it to ONNX Runtime. No name in any file
system leads to it. It must not know what the bytes mean.

ONNX Runtime reads a graph of gigabytes without a second copy only from something that it can open and read. So the graph lies
in a nameless file (memfd_create): memory that only this process's descriptors reach, and those are closed to other users'
processes, and to this user's once the process is not dumpable, just as its other memory is. ONNX Runtime reads it once from
front to back; what it has read is overwritten and given back while it goes on, so that weights are never there twice:

    decrypted  ████████████████      nameless file  ░░░░░░░░████████      ONNX Runtime's  ████████
                                     what is read is wiped ──┘└── the place where it reads, from /proc/self/fdinfo
"""

import contextlib
import ctypes
import mmap
import os
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

_STEP: Final = 4 << 20
_ZEROS: Final = bytes(_STEP)
_PAUSE: Final = 0.001  # seconds between two looks at how far the reader is
_PUNCH_HOLE: Final = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE


class Nameless:
    """A file in memory without a name, of a fixed size: written through `view`, opened by others as `path`."""

    def __init__(self, size: int) -> None:
        self._descriptor = os.memfd_create("modelward", os.MFD_CLOEXEC)
        os.ftruncate(self._descriptor, size)
        self._memory = mmap.mmap(self._descriptor, size) if size else None
        self._wiped = 0  # bytes from the front
        self.view = memoryview(self._memory) if self._memory else memoryview(bytearray())
        if self._memory:
            self._memory.madvise(mmap.MADV_DONTDUMP)

    @property
    def path(self) -> str:
        """What this process, and no other, may open."""
        return f"/proc/self/fd/{self._descriptor}"

    @contextlib.contextmanager
    def wiped_while_read(self) -> Iterator[None]:
        """Whoever opens `path` within reads it from front to back, and what was read is overwritten and freed behind it."""
        over = threading.Event()
        known = self._descriptors()
        wiper = threading.Thread(target=self._wipe_behind, args=(over, known), name="wipe", daemon=True)
        wiper.start()
        try:
            yield
        finally:
            over.set()
            wiper.join()

    def close(self) -> None:
        """Overwrite what is left and give the memory back. Idempotent."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(ValueError):  # whoever wrote it has wiped and released it already
            self._wipe(len(self.view))
        release(self.view)
        os.close(self._descriptor)
        self._descriptor = -1

    def _wipe_behind(self, over: threading.Event, known: frozenset[str]) -> None:
        """Until it is over: wipe whole steps in front of the place of whoever reads, and all when they have closed.

        Without /proc, or without the right to it, nothing is found, and `close` wipes everything at the end.
        """
        reader, place = "", 0
        while not over.wait(_PAUSE):
            try:
                reader = reader or next(iter(self._descriptors() - known), "")
                place = _position(reader) if reader else 0
                self._wipe(place - place % _STEP)
            except OSError:  # closed just now: what begins from the front again would find zeros, and refuse them
                self._wipe(len(self.view) if place else 0)
                reader = ""

    def _wipe(self, end: int) -> None:
        """Overwrite and free everything up to there."""
        for begin in range(self._wiped, end, _STEP):
            size = min(_STEP, end - begin)
            self.view[begin : begin + size] = _ZEROS[:size]
            _LIBC.fallocate(self._descriptor, _PUNCH_HOLE, begin, size)
            self._wiped = begin + size

    def _descriptors(self) -> frozenset[str]:
        """This process's descriptors of this very file."""
        own = os.fstat(self._descriptor)
        found = set()
        for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208  as below: it runs every millisecond
            with contextlib.suppress(OSError):
                status = os.fstat(int(entry))
                if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino):
                    found.add(entry)
        return frozenset(found)


class Plaintext:
    """The plaintext files of one model by path; left, it is wiped. The one that holds the graph can be opened by ONNX Runtime."""

    def __init__(self, graph: str) -> None:
        self.graph_path = graph
        self.graph = Nameless(0)
        self.files: dict[str, memoryview] = {}

    def allocate(self, path: str, size: int) -> memoryview:
        """Zeroed memory for one file: what the sealed format decrypts into."""
        if path == self.graph_path:
            self.replace_graph(Nameless(size))
        else:
            self.files[path] = anonymous(size)
        return self.files[path]

    def replace_graph(self, graph: Nameless) -> None:
        """Take another file for the graph; the old one is wiped."""
        self.graph.close()
        self.graph = graph
        self.files[self.graph_path] = graph.view

    def wipe(self) -> None:
        """Overwrite everything and give the memory back. Idempotent."""
        for path, view in self.files.items():
            if path != self.graph_path:
                wipe(view)
        self.files.clear()
        self.graph.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


def anonymous(size: int) -> memoryview:
    """Private zeroed memory that no file backs and no core dump holds."""
    if size == 0:
        return memoryview(bytearray())
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTDUMP)
    return memoryview(memory)


def wipe(view: memoryview) -> None:
    """Overwrite memory and give it back. Idempotent."""
    with contextlib.suppress(ValueError):  # released before
        overwrite(view)
    release(view)


def release(view: memoryview) -> None:
    """Give memory back. Idempotent."""
    try:
        owner = view.obj
    except ValueError:  # released before
        return
    with contextlib.suppress(BufferError):  # a traceback may still look at it: zeros, which go when it goes
        view.release()
        if isinstance(owner, mmap.mmap):
            owner.close()


def overwrite(view: memoryview) -> None:
    """Zeros all over."""
    for begin in range(0, len(view), _STEP):
        end = min(begin + _STEP, len(view))
        view[begin:end] = _ZEROS[: end - begin]


def _position(descriptor: str) -> int:
    """How far a descriptor was read; OSError when it is closed."""
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as source:  # noqa: PTH123  no Path: it runs every millisecond
        return int(source.readline().split()[1])


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

"""Plaintext of a sealed model: where it lies while it is loaded, and how it goes away.

`load.py` makes a `Plaintext`, the sealed format decrypts into it, `engine.py` gives it to ONNX Runtime. No name in any file
system leads to it. It must not know what the bytes mean.

ONNX Runtime reads a graph of gigabytes without a second copy only from something that it can open and read. That is a pipe here:
the kernel gives each byte of a pipe out once. What was read is overwritten and given back while ONNX Runtime goes on, so that
weights are never there twice; and what is overwritten can no longer be read. A reader that seeks fails, one that opens twice or reads
from two threads gets a stream that is torn. One that moved the pages on without copying them (splice, tee) would see them wiped under
its hands: ONNX Runtime copies.

    decrypted  ░░░░░░░░████████  ▶ pipe: the same pages, lent (vmsplice), 1 MiB at a time ▶  ONNX Runtime's  ████████
         wiped ──┘└── what the pipe still holds is not wiped                                      own copy
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import termios
import threading
from types import TracebackType
from typing import Final, Self

_STEP: Final = 4 << 20
_PIPE: Final = 1 << 20  # bytes that a pipe holds, where the system allows it
_PAUSE: Final = 0.0002  # seconds
HUGE: Final = 256 << 20
"""Bytes that are worth huge pages at most: more of them may have to come back from a hypervisor first (PERFORMANCE.md, "Start")."""
_SHORTEST, _LONGEST = 0.00005, 0.0005  # of pauses
_NONBLOCK: Final = 2  # SPLICE_F_NONBLOCK


class ReadOnce:
    """A pipe through which whoever opens `path` reads `head`, then memory, then `tail`, once. Memory is wiped behind the reader.

    Left, everything is wiped and given back, read or not. `is_read`: all of it has left the pipe.
    """

    def __init__(self, memory: memoryview, head: bytes = b"", tail: bytes = b"") -> None:
        self._memory, self._head, self._tail = memory, head, tail
        self._lent = self._wiped = 0  # bytes from the front
        self._is_fed = False
        self.is_read = False
        self._out, self._in = os.pipe()
        with contextlib.suppress(OSError):  # an unprivileged user may have too many of them: then it keeps its 64 KiB
            fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)
        self._half = fcntl.fcntl(self._in, fcntl.F_GETPIPE_SZ) // 2
        os.set_blocking(self._in, False)
        self._over = threading.Event()
        self._feeder = threading.Thread(target=self._feed, name="feed", daemon=True)

    @property
    def path(self) -> str:
        """What this process, and no other, may open."""
        return f"/proc/self/fd/{self._out}"

    def __enter__(self) -> Self:
        self._feeder.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_read = self._is_fed and _unread(self._out) == 0
        self._over.set()
        os.close(self._out)
        self._feeder.join()
        self._wipe(len(self._memory))
        release(self._memory)

    def _feed(self) -> None:
        try:
            self._write(self._head)
            pause = _SHORTEST
            while self._lent < len(self._memory):
                lent = _lend(self._in, self._memory[self._lent : self._lent + _PIPE])
                self._lent += lent
                self._wipe(self._whole_steps(self._lent - _unread(self._in)))
                if lent > self._half:  # the reader waits for us rather than we for it
                    pause = _SHORTEST
                    continue
                pause = min(pause * 1.5, _LONGEST)  # each look costs as much as a copy of 100 KiB
                if self._over.wait(pause):
                    return
            self._write(self._tail)
            self._is_fed = True
        except BrokenPipeError:  # nobody can read any more
            return
        finally:
            os.close(self._in)

    def _write(self, content: bytes) -> None:
        while content:
            with contextlib.suppress(BlockingIOError):
                content = content[os.write(self._in, content) :]
            if content and self._over.wait(_PAUSE):
                raise BrokenPipeError

    @staticmethod
    def _whole_steps(end: int) -> int:
        return max(end - end % _STEP, 0)

    def _wipe(self, end: int) -> None:
        """Overwrite and free everything up to there."""
        for begin in range(self._wiped, end, _STEP):
            size = min(_STEP, end - begin)
            overwrite(self._memory[begin : begin + size])
            _give_back(self._memory, begin, size)
            self._wiped = begin + size


class Plaintext:
    """The plaintext files of one model by path; left, it is wiped. `graph_path` names the one that holds the graph."""

    def __init__(self, graph: str) -> None:
        self.graph_path = graph
        self.files: dict[str, memoryview] = {}

    @property
    def graph(self) -> memoryview:
        """The bytes of the graph."""
        return self.files[self.graph_path]

    def allocate(self, path: str, size: int) -> memoryview:
        """Zeroed memory for one file: what the sealed format decrypts into."""
        self.files[path] = anonymous(size)
        return self.files[path]

    def replace_graph(self, graph: memoryview) -> None:
        """Take other memory for the graph; the old one is wiped."""
        wipe(self.graph)
        self.files[self.graph_path] = graph

    def wipe(self) -> None:
        """Overwrite everything and give the memory back. Idempotent."""
        for view in self.files.values():
            wipe(view)
        self.files.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


def anonymous(size: int) -> memoryview:
    """Private zeroed memory that no file backs and no core dump holds.

    In huge pages up to `HUGE` bytes: they spare the kernel a fault for each 4 KiB, a third of what decryption costs. Not above: where a
    hypervisor takes back what its guest has free (free page reporting) they are just what it took, and 1 GB of them cost 1.7 s.
    """
    if size == 0:
        return memoryview(bytearray())
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_DONTDUMP)
    if size <= HUGE:
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
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
    """Zeros all over. Other threads go on meanwhile: ctypes lets them."""
    if len(view):
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(view)), 0, len(view))


def _lend(pipe: int, content: memoryview) -> int:
    """Put the pages themselves into a pipe; how many bytes, 0 when it is full. They must not change before they were read.

    Where a sandbox knows no vmsplice they are copied, and the kernel frees the copies without overwriting them.
    """
    vector = _Vector(ctypes.addressof(ctypes.c_char.from_buffer(content)), len(content))
    count: int = _LIBC.vmsplice(pipe, ctypes.byref(vector), 1, _NONBLOCK)
    if count >= 0:
        return count
    code = ctypes.get_errno()
    if code == errno.EAGAIN:
        return 0
    if code in {errno.ENOSYS, errno.EPERM}:
        try:
            return os.write(pipe, content)
        except BlockingIOError:
            return 0
    raise OSError(code, os.strerror(code))


def _unread(pipe: int) -> int:
    """Bytes that nobody has taken out of a pipe yet."""
    count = ctypes.c_int()
    if _LIBC.ioctl(pipe, termios.FIONREAD, ctypes.byref(count)):
        raise OSError(ctypes.get_errno(), "FIONREAD")
    return count.value


def _give_back(view: memoryview, begin: int, size: int) -> None:
    """Free pages and keep the addresses."""
    if isinstance(view.obj, mmap.mmap):
        view.obj.madvise(mmap.MADV_DONTNEED, begin, size)


class _Vector(ctypes.Structure):
    """struct iovec of uio.h."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_LIBC = ctypes.PyDLL(
    None, use_errno=True
)  # calls that do not wait: without the interpreter they would wait for those who import
_LIBC.vmsplice.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint]
_LIBC.vmsplice.restype = ctypes.c_ssize_t
_LIBC.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]

"""Reads every ciphertext once, hashing it and decrypting it into anonymous memory, on several threads.

`opening.py` calls it after the signature, the manifest, the file set and the sizes have held. Nothing is handed out before the last
digest and the last authentication tag were right; else every buffer is overwritten. It must not write to any disk.

A thread takes a stream from the queue, reads and hashes its next few segments (which must go in order), puts the stream back for the next
thread, and then decrypts what it has read. So a segment is read once, each thread holds four of them at most, and no thread waits while
any stream has bytes that nobody reads.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from queue import LifoQueue
from typing import Final

from cryptography.exceptions import InvalidTag

from modelward_runtime import memory
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed import stream
from modelward_runtime.store.sealed.folder import open_plain
from modelward_runtime.store.sealed.manifest import Manifest, SealedFile
from modelward_runtime.store.sealed.refusals import refuse, seal_invalid

_AT_ONCE: Final = 4  # segments: Python is needed between any two steps, and may be busy importing
Allocate = Callable[[str, int], memoryview]  # zeroed memory for the plaintext of a path, of a size in bytes


def decrypt_files(
    folder: Path, manifest: Manifest, data_key: bytes, threads: int, allocate: Allocate
) -> dict[str, memoryview]:
    """The plaintext of every file by its path, each in memory of its own; `wipe` gives it back.

    LoadError SealInvalid when a ciphertext is not the one of the manifest, DecryptionFailed when it does not authenticate.
    """
    buffers: dict[str, memoryview] = {}
    try:
        for file in manifest.files:
            buffers[file.path] = allocate(file.path, file.plaintext_size)
        _Pass(folder, manifest, data_key, buffers).run(threads)
    except BaseException:
        wipe(buffers.values())
        raise
    return buffers


def check_digests(folder: Path, manifest: Manifest, threads: int) -> None:
    """Hash every ciphertext, without a key; LoadError SealInvalid names the first one that is not the manifest's."""
    _Pass(folder, manifest, b"", {}).run(threads)


def wipe(buffers: Iterable[memoryview]) -> None:
    """Overwrite plaintext and give the memory back."""
    for buffer in buffers:
        memory.wipe(buffer)


class _Stream:
    """One ciphertext on its way. Only the thread that took it from the queue reads on; many may decrypt what was read."""

    def __init__(self, file: SealedFile, name: str) -> None:
        self.file = file
        self.name = name
        self.cipher: stream.StreamCipher | None = None
        self._digest = hashlib.sha256()
        self._next = 0
        self._descriptor = -1

    def read(self, folder: Path, buffer: memoryview) -> list[tuple[stream.Segment, memoryview]]:
        """Read and hash the next segments, as many as the buffer holds; in front of the first one lies the header."""
        if self._descriptor < 0:
            self._open(folder)
        size, begin = self.file.plaintext_size, self._next * stream.SEGMENT
        count = min(len(buffer) // stream.SEGMENT, stream.segments(size) - self._next)
        places = [stream.segment(number, size) for number in range(self._next, self._next + count)]
        content = buffer[: places[-1].end - begin]
        filled = 0
        while filled < len(content):
            got = os.preadv(self._descriptor, [content[filled:]], begin + filled)
            if got == 0:
                raise seal_invalid(f"{self.name} was cut while it was read")
            filled += got
        self._digest.update(content)
        self._next += count
        return [(place, content[place.number * stream.SEGMENT - begin : place.end - begin]) for place in places]

    def is_right(self) -> bool:
        """At the end: is it the ciphertext of the manifest?"""
        return self._digest.hexdigest() == self.file.sha256

    def close(self) -> None:
        """Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, folder: Path) -> None:
        self._descriptor = open_plain(folder, self.name)
        size = os.fstat(self._descriptor).st_size
        if size != self.file.size:
            raise seal_invalid(f"{self.name} has {size} bytes, and manifest.json says {self.file.size}: was it cut?")


class _Pass:
    """One run over all ciphertexts. Without a data key it only hashes."""

    def __init__(self, folder: Path, manifest: Manifest, data_key: bytes, buffers: Mapping[str, memoryview]) -> None:
        self._folder = folder
        self._manifest = manifest
        self._data_key = data_key
        self._buffers = buffers
        self._streams = [_Stream(*pair) for pair in zip(manifest.files, manifest.data_names, strict=True)]
        self._idle: LifoQueue[_Stream | None] = LifoQueue()  # last in, first out: few files are open at a time
        self._lock = threading.Lock()
        self._unread = len(self._streams)
        self._threads = 0
        self._piece = stream.SEGMENT
        self._wrong: dict[str, LoadError] = {}  # by name of the ciphertext
        self._broken: list[BaseException] = []

    def run(self, threads: int) -> None:
        """Start the threads, wait for all of them, raise what was wrong."""
        segments = [stream.segments(file.plaintext_size) for file in self._manifest.files]
        self._threads = max(1, min(threads, sum(segments)))
        self._piece = stream.SEGMENT * max(1, min(_AT_ONCE, max(segments, default=1) // self._threads))
        for waiting in self._streams:
            self._idle.put(waiting)
        workers = [threading.Thread(target=self._work, name=f"decrypt-{n}") for n in range(self._threads)]
        started: list[threading.Thread] = []
        try:
            for worker in workers:
                worker.start()
                started.append(worker)
            for worker in started:
                worker.join()
        finally:  # interrupted: nobody may write any more when the buffers are wiped
            self._dismiss()
            for worker in started:
                worker.join()
            for read in self._streams:
                read.close()
        if self._broken:
            raise _readable(self._broken[0])
        if self._wrong:
            raise self._wrong[min(self._wrong)]

    def _work(self) -> None:
        buffer = memory.anonymous(self._piece)  # not of the heap, which would keep it
        try:
            while (current := self._idle.get()) is not None:
                self._take(current, buffer)
        except BaseException as error:  # noqa: BLE001  it is raised in the thread that called `run`
            self._broken.append(error)
            self._dismiss()
        finally:
            memory.release(buffer)

    def _take(self, current: _Stream, buffer: memoryview) -> None:
        segments = current.read(self._folder, buffer)
        first, last = segments[0][0], segments[-1][0]
        if first.number == 0:
            segments[0] = first, self._begin(current, segments[0][1])
        if last.is_last:
            self._end(current)
        else:
            self._idle.put(current)
        if current.cipher is None or self._wrong:
            return
        for place, content in segments:
            self._decrypt(current, current.cipher, place, content)

    def _decrypt(
        self, current: _Stream, cipher: stream.StreamCipher, place: stream.Segment, content: memoryview
    ) -> None:
        plaintext = self._buffers[current.file.path][place.plain_start : place.plain_end]
        try:
            cipher.decrypt_into(place, content, plaintext)
        except InvalidTag:
            self._wrong.setdefault(current.name, _undecryptable(current))
        finally:
            plaintext.release()

    def _begin(self, current: _Stream, content: memoryview) -> memoryview:
        """Take the header off the first segment."""
        if self._data_key:
            bound = self._manifest.associated_data(current.file.path)
            try:
                current.cipher = stream.StreamCipher(self._data_key, bound, bytes(content[: stream.HEADER]))
            except ValueError:
                self._wrong.setdefault(current.name, _undecryptable(current))
        return content[stream.HEADER :]

    def _end(self, current: _Stream) -> None:
        current.close()
        if not current.is_right():
            self._wrong[current.name] = seal_invalid(
                f"{current.name} ({current.file.path}) has not the SHA-256 that the signed manifest.json says: it was changed after sealing"
            )
        with self._lock:
            self._unread -= 1
            is_over = self._unread == 0
        if is_over:
            self._dismiss()

    def _dismiss(self) -> None:
        for _ in range(self._threads):
            self._idle.put(None)


def _readable(error: BaseException) -> BaseException:
    """A disk's error as a refusal; anything else is a bug and stays what it is."""
    return seal_invalid(f"a ciphertext cannot be read: {error.strerror}") if isinstance(error, OSError) else error


def _undecryptable(current: _Stream) -> LoadError:
    return refuse(
        LoadReason.DECRYPTION_FAILED,
        f"{current.name} ({current.file.path}) does not authenticate under the data key of this model: it was not sealed with it, "
        "for this tenant, model, version and path",
    )

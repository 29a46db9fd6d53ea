"""Every number of replicas that a Deployment was given, and when: `kubectl get --watch`, read by a thread. Used by the cases of scaling."""

import subprocess
import threading
import time
from types import TracebackType

_COLUMNS = "custom-columns=R:.spec.replicas,N:.status.readyReplicas"


class Replicas:
    """While the `with` block runs: the numbers asked for, and how many pods were ready, each with the time when it was first seen."""

    def __init__(self, namespace: str, name: str) -> None:
        command = ["kubectl", "get", "deployment", name, "-n", namespace, "--watch", "--no-headers", "-o", _COLUMNS]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read)
        self._began = threading.Event()
        self.asked: list[tuple[float, int]] = []
        """Monotonic seconds, and the number; a new entry when it changed."""
        self.ready: list[tuple[float, int]] = []

    def __enter__(self) -> "Replicas":
        """Wait for the first number: what changes at once would come before kubectl watches."""
        self._thread.start()
        assert self._began.wait(30), "kubectl says nothing"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._thread.join()
        self._process.wait()

    @property
    def numbers(self) -> set[int]:
        """Every number that was ever asked for."""
        return {number for _, number in self.asked}

    def first(self, seen: list[tuple[float, int]], least: int, since: float) -> float | None:
        """Return the seconds from `since` to the first time that `seen` had so many; None when it never had."""
        return next((at - since for at, number in seen if at >= since and number >= least), None)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now, words = time.monotonic(), line.split()
            for seen, word in zip((self.asked, self.ready), words, strict=True):
                number = int(word) if word.isdigit() else 0
                if not seen or seen[-1][1] != number:
                    seen.append((now, number))
            self._began.set()
        self._process.stdout.close()

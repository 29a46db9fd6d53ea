"""Keeps the live policy: reads policy.json again and again, because a mounted ConfigMap changes under a running process.

`serve.py` runs `watch` beside the servers. The file is a few hundred bytes, so it is read once a second and compared, which
also sees the symlink swap by which the kubelet updates a ConfigMap. A file that is missing or wrong never replaces the last
good policy: it is reported, and the old one holds. It must not interpret what the policy says: takers do, in two steps, so that a policy
holds for all of them or for none.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from modelward_runtime.config import Policy, parse_policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.report import Report

log = logging.getLogger(__name__)

Taker = Callable[[Policy], Callable[[], None]]
"""Refuses a policy with LoadError PolicyUnsatisfiable, or returns what makes it hold; until that is called nothing has changed."""


class PolicyFile:
    """The file, and the last good policy in it."""

    def __init__(self, file: Path, report: Report, takers: Sequence[Taker] = ()) -> None:
        self._file = file
        self._report = report
        self._takers = takers
        self._content: bytes | None = b""
        self.satisfied = asyncio.Event()
        self.policy = self._read_first()
        self._try_first()

    async def watch(self, every: float = 1.0) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.refresh()
            if not self.satisfied.is_set():
                self._try_first()

    def refresh(self) -> None:
        """Look once."""
        try:
            content = self._file.read_bytes()
        except OSError as error:
            content, problem = None, f"{self._file}: {error.strerror}"
        else:
            problem = ""
        if content == self._content:
            return
        self._content = content
        if content is not None:
            problem = self._take(content)
        self._report.policy_failure = problem
        if problem:
            log.error("the policy is not usable, the last good one holds", extra={"cause": problem})

    def _take(self, content: bytes) -> str:
        """Adopt the content; the problem when it is none."""
        try:
            policy = parse_policy(content, str(self._file))
            self._adopt(policy)
        except LoadError as error:
            return error.message
        return ""

    def _adopt(self, policy: Policy) -> None:
        """It holds from now on, for all; LoadError: for none."""
        commits = [taker(policy) for taker in self._takers]
        self._report.policy_generation = policy.generation
        for commit in commits:
            commit()
        self.policy = policy
        self.satisfied.set()
        log.info("policy adopted", extra={"generation": policy.generation})

    def _try_first(self) -> None:
        """Until one policy could be satisfied there is no last good one: what is missing may come, a mounted key for one."""
        try:
            self._adopt(self.policy)
        except LoadError as error:
            self._report.fail(error)
            log.warning("the policy cannot be satisfied yet", extra={"cause": error.message})

    def _read_first(self) -> Policy:
        """At the start there is no last good policy: LoadError."""
        try:
            self._content = self._file.read_bytes()
        except OSError as error:
            message = f"{self._file}: {error.strerror}"
            raise LoadError(LoadReason.CONFIG_INVALID, message, "load", permanent=True) from error
        return parse_policy(self._content, str(self._file))

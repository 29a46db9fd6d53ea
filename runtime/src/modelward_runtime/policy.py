"""Keeps the live policy: reads policy.json again and again, because a mounted ConfigMap changes under a running process.

`serve.py` runs `watch` beside the servers. The file is a few hundred bytes, so it is read once a second and compared, which
also sees the symlink swap by which the kubelet updates a ConfigMap. A file that is missing or wrong never replaces the last
good policy: it is reported, and the old one holds. It must not interpret what the policy says.
"""

import asyncio
import logging
from pathlib import Path

from modelward_runtime.config import Policy, parse_policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.report import Report

log = logging.getLogger(__name__)


class PolicyFile:
    """The file, and the last good policy in it."""

    def __init__(self, file: Path, report: Report) -> None:
        self._file = file
        self._report = report
        self._content: bytes | None = b""
        self.policy = self._read_first()

    async def watch(self, every: float = 1.0) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.refresh()

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
            self.policy = parse_policy(content, str(self._file))
        except LoadError as error:
            return error.message
        self._report.policy_generation = self.policy.generation
        log.info("policy adopted", extra={"generation": self.policy.generation})
        return ""

    def _read_first(self) -> Policy:
        """At the start there is no last good policy: LoadError."""
        try:
            self._content = self._file.read_bytes()
        except OSError as error:
            message = f"{self._file}: {error.strerror}"
            raise LoadError(LoadReason.CONFIG_INVALID, message, "load", permanent=True) from error
        policy = parse_policy(self._content, str(self._file))
        self._report.policy_generation = policy.generation
        return policy

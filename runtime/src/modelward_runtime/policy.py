"""Keeps the live policy: reads policy.json again and again, because a mounted ConfigMap changes under a running process.

`serve.py` runs `watch` beside the servers. The file is a few hundred bytes, so it is read once a second and compared, which
also sees the symlink swap by which the kubelet updates a ConfigMap. A file that is missing or wrong never replaces the last
good policy: it is reported, and the old one holds; before there is a good one, the process waits for it. It must not interpret what
the policy says: whether it can be enforced, the function says that `enforce` is given.

    parse ▶ adopt (checked against the model, in force from the next request on) ▶ the last good one
      └ wrong ──────┴ PolicyUnsatisfiable, flaw ─▶ policyFailure; tried again each second, for a key may come after the file that names it
                                                 └ no good one yet: unready, `failure` PolicyUnsatisfiable, not permanent
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from modelward_runtime.config import Policy, parse_policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.report import Report

log = logging.getLogger(__name__)


class PolicyFile:
    """The file, and the last good policy in it: None before the first."""

    def __init__(self, file: Path, report: Report) -> None:
        self._file = file
        self._report = report
        self._content: bytes | None = None
        self._adopt: Callable[[Policy], None] = lambda _: None
        self._in_force = False
        self.policy: Policy | None = None
        self.refresh(again=True)

    async def enforce(self, adopt: Callable[[Policy], None], every: float = 1.0) -> None:
        """From now on a policy counts once `adopt`, which raises LoadError, has put it in force; returns when one is.

        Until then the report shows why none is, and no generation.
        """
        self._adopt, self._in_force = adopt, False
        self.refresh(again=True)
        while not self._in_force:
            problem = self._report.policy_failure
            self._report.fail(LoadError(LoadReason.POLICY_UNSATISFIABLE, problem, "load", permanent=False))
            self._report.policy_generation = self._report.policy_digest = ""
            await asyncio.sleep(every)
            self.refresh()
        self._report.failure = None

    async def watch(self, every: float = 1.0) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.refresh()

    def refresh(self, *, again: bool = False) -> None:
        """Look once; judge what is there `again` even if it has not changed, as what was refused is."""
        try:
            content = self._file.read_bytes()
        except OSError as error:
            content, problem = None, f"{self._file}: {error.strerror}"
        else:
            problem = ""
        if content == self._content and not (again or self._report.policy_failure):
            return
        self._content = content
        if content is not None:
            problem = self._take(content)
        if problem and problem != self._report.policy_failure:
            holds = "the last good one holds" if self._in_force else "the model does not serve without"
            log.error("the policy is not usable, %s", holds, extra={"cause": problem})
        self._report.policy_failure = problem

    def _take(self, content: bytes) -> str:
        """Adopt the content; the problem when it is none."""
        try:
            policy = parse_policy(content, str(self._file))
            self._adopt(policy)
        except LoadError as error:
            return error.message
        except (
            Exception
        ) as error:  # the last border: a flaw of ours must not end the watch, and every later policy with it
            problem = f"{self._file}: the policy cannot be judged ({type(error).__name__}, the log has more)"
            if problem != self._report.policy_failure:
                log.exception("judging the policy failed unexpectedly")
            return problem
        self.policy, self._in_force = policy, True
        if policy.generation != self._report.policy_generation:
            log.info("policy adopted", extra={"generation": policy.generation})
        self._report.policy_generation = policy.generation
        self._report.policy_digest = hashlib.sha256(content).hexdigest()
        return ""

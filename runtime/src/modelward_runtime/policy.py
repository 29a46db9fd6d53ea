"""Keeps the live policy: reads policy.json again and again, because a mounted ConfigMap changes under a running process.

`serve.py` runs `watch` beside the servers. The file is a few hundred bytes, so it is read once a second and compared, which
also sees the symlink swap by which the kubelet updates a ConfigMap. A file that is missing or wrong never replaces the last
good policy: it is reported, and the old one holds; before there is a good one, the process waits for it. It must not interpret what
the policy says: whether it can be enforced, the function says that `enforce` is given.

    parse ▶ prepare, on a thread (preparing.py) ▶ adopt (checked against the model, in force from the next request on) ▶ the last good one
      └ wrong ──────┴ not done after 30 s ────────┴ PolicyUnsatisfiable, flaw ─▶ policyFailure; tried again each second, for a key may come
                                                 │                               after the file that names it
                                                 └ no good one yet: unready, `failure` PolicyUnsatisfiable, not permanent
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from modelward_runtime.config import Policy, parse_policy
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.preparing import prepare, takes_long
from modelward_runtime.report import Report
from modelward_runtime.threads import in_thread

log = logging.getLogger(__name__)

PREPARING: Final = 30.0
"""Seconds after which it is told that what a policy needs is still being made ready: a disk that hangs, a processor that is starved."""


class PolicyFile:
    """The file, and the last good policy in it: None before the first."""

    def __init__(self, file: Path, report: Report) -> None:
        self._file = file
        self._report = report
        self._content: bytes | None = None
        self._prepared: bytes | None = None
        self._preparing: _Preparing | None = None
        self._adopt: Callable[[Policy], None] = lambda _: None
        self._in_force = False
        self.policy: Policy | None = None
        self.refresh(again=True)

    async def enforce(self, adopt: Callable[[Policy], None], every: float = 1.0) -> None:
        """From now on a policy counts once `adopt`, which raises LoadError, has put it in force; returns when one is.

        Until then the report shows why none is, and no generation.
        """
        ready = await self._prepare(every)
        self._adopt, self._in_force = adopt, False
        while True:
            if ready:
                self.refresh(again=True)
            if self._in_force:
                break
            if problem := self._report.policy_failure:
                self._report.fail(LoadError(LoadReason.POLICY_UNSATISFIABLE, problem, "load", permanent=False))
            self._report.policy_generation = self._report.policy_digest = ""
            if ready:
                await asyncio.sleep(every)
            ready = await self._prepare(every)
        self._report.failure = None

    async def watch(self, every: float = 1.0) -> None:
        """Follow the file until cancelled."""
        while True:
            await asyncio.sleep(every)
            if await self._prepare(every):
                self.refresh()

    async def _prepare(self, patience: float) -> bool:
        """Let a thread do what adopting the policy that is there now would keep the event loop for; is it done, or is there nothing to do?

        A thread cannot be ended. While one is not, the next policy that takes long waits for it, and the last good one holds.
        """
        try:
            content = self._file.read_bytes()
            if content == self._prepared:
                return True
            if not takes_long(policy := parse_policy(content, str(self._file))):
                self._prepared = content
                return True
        except (OSError, LoadError):
            return True  # `refresh` meets it too, and tells it
        except Exception:  # as below
            log.exception("what a policy needs could not be told")
            return True
        now = asyncio.get_running_loop().time()
        begun = self._preparing = self._preparing or _Preparing(content, now, _begin(policy))
        await asyncio.wait({begun.work}, timeout=patience)
        if begun.work.done():
            if self._preparing is begun:
                self._preparing, self._prepared = None, begun.content
            return begun.content == content
        if now - begun.since >= PREPARING:
            self._tell(f"{self._file}: what the policy needs is not ready after {PREPARING:.0f} s, and is waited for")
        return False

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
        self._tell(problem)

    def _tell(self, problem: str) -> None:
        """Report a problem, or that there is none; what is new is logged."""
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


class _Preparing(NamedTuple):
    """What is under way on a thread."""

    content: bytes
    since: float
    """In the event loop's time."""
    work: asyncio.Task[None]


def _begin(policy: Policy) -> asyncio.Task[None]:
    async def work() -> None:
        try:
            await in_thread(partial(prepare, policy), "imports")
        except Exception:  # the last border: adopting it finds what is missing, and tells
            log.exception("what a policy needs could not be imported beforehand")

    return asyncio.create_task(work())

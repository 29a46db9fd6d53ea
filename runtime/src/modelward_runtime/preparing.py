"""Does beforehand what the first policy of a kind takes long for: imports of what enforces it, and the table that texts are searched by.

Called by `policy.py` on a thread, before a policy is put in force on the event loop: there it would keep probes and requests waiting for
a quarter of a second and more. It decides nothing: what a policy asks for and is not to be had, its adoption finds and tells.
"""

from contextlib import suppress

from modelward_runtime.config import Policy
from modelward_runtime.privacy.config import Privacy
from modelward_runtime.sinks.config import S3


def takes_long(policy: Policy) -> bool:
    """Is there anything to prepare?"""
    return any(part is not None for part in (policy.privacy, policy.audit, policy.logging))


def prepare(policy: Policy) -> None:
    """All that adopting it will import or make once."""
    if policy.privacy is not None:
        _prepare_privacy(policy.privacy)
    if policy.audit is not None:
        from modelward_runtime.audit import running  # noqa: F401, PLC0415  start-up: for policies that ask for it
    if policy.logging is not None:
        from modelward_runtime.payloads import running as _  # noqa: F401, PLC0415  likewise

        if policy.logging.mode == "Redacted":
            _make_table()
    if any(isinstance(part.sink, S3) for part in (policy.audit, policy.logging) if part is not None):
        from modelward_runtime.sinks import s3  # noqa: F401, PLC0415  likewise


def _prepare_privacy(privacy: Privacy) -> None:
    from modelward_runtime.privacy import compile  # noqa: A004, F401, PLC0415  likewise

    if privacy.input.pii:
        _make_table()
    if privacy.output.differential_privacy is not None:
        from modelward_runtime.epsilon import mechanism, promise  # noqa: F401, PLC0415  likewise

        with suppress(mechanism.Unbuildable):
            mechanism.warm_up()


def _make_table() -> None:
    from modelward_runtime.privacy.pii import fold  # noqa: PLC0415  likewise

    fold.prepare()

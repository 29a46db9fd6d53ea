"""The suite's errors.

RuntimeError
├── ImpossibleError   the suite cannot run here, or not as it was asked to; nothing has been started
├── NotServedError    a server did not start, ended, or answers wrongly: it is not measured, and the table says why
└── LoadError         a generator failed, or requests did: the window does not count, and the table says why
"""


class ImpossibleError(RuntimeError):
    """Not here, or not so; the message says what to do."""


class NotServedError(RuntimeError):
    """Of one server."""


class LoadError(RuntimeError):
    """Of one window."""

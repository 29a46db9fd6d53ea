"""The operator's errors. Everything else that is raised is a bug, is logged with its traceback and retried with back-off.

OperatorError
├── Unreadable    a fact could not be read (5xx, time-out): the pass ends, the last ruling holds, it is tried again
└── Conflict      somebody wrote in between: the pass ends and starts anew from the present state
"""


class OperatorError(Exception):
    """Any error that a pass expects; the message is for the operator's log and metrics."""


class Unreadable(OperatorError):
    """A fact could not be read, so nothing may be concluded from its absence."""


class Conflict(OperatorError):
    """The object changed since it was read."""

"""Who calls, as a value of its own: the door (`access/`) makes it, and a process that has no model needs it without numpy.

Used by everything on a request's way, and by `activator/`. It must not import anything that is about tensors.
"""

import msgspec


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who calls, as the door (`access/`) found out: the subject as Kubernetes spells users, empty where nobody asks."""

    subject: str = ""


ANONYMOUS = Caller()


class ClientGone(Exception):
    """The caller closed the connection before its answer."""

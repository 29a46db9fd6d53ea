"""What the activator itself answers, in the tree of `modelward_runtime.errors`. What may be retried says when.

ApiError
├── NoMethod        404 UNIMPLEMENTED, the one that is not to be retried
├── Busy            429 RESOURCE_EXHAUSTED
│   ├── HoldFull      as many are held as may be
│   └── CallsFull     as many are under way as may be
└── Unavailable     503 UNAVAILABLE
    └── NotServed     nothing was lost but this one answer
        ├── HoldExpired   no pod in time
        ├── NotWoken      the model may not run: a budget, a policy, `suspend`; the reason is its condition's
        ├── PodLost       the pod ended while it had the request; it may have worked on it
        └── Leaving       this activator is on its way out, or the model is no longer its business
"""

from typing import ClassVar

from modelward_runtime.errors import ApiError, Busy, Unavailable


class NoMethod(ApiError):
    """There is no such method; in a pod's own words."""

    status = 404
    grpc_code = "UNIMPLEMENTED"

    def __init__(self) -> None:
        super().__init__("Method not found!")


class HoldFull(Busy):
    """As many requests are held as may be."""

    code = "hold-full"

    def __init__(self, held: int) -> None:
        super().__init__(f"the model is starting and {held} requests wait for it already")


class CallsFull(Busy):
    """The model's callers, or those of its namespace, have as many calls under way as the others leave room for."""

    code = "calls-full"

    def __init__(self) -> None:
        super().__init__("too many calls to this model, or to others of its namespace, are under way")


class NotServed(Unavailable):
    """The request was not served, by no fault of its own; `retry_after` is in seconds."""

    retry_after: ClassVar[int] = 1


class HoldExpired(NotServed):
    """The model was not there in time."""

    code = "hold-expired"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the model did not start within {seconds:g} s, try again")


class NotWoken(NotServed):
    """The model may not run now. Reason and message are those of its condition."""

    code = "not-woken"
    retry_after = 30

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"the model may not be started: {reason}: {message}")


class PodLost(NotServed):
    """The pod ended, or its connection did, before the whole answer was there."""

    code = "pod-lost"

    def __init__(self) -> None:
        super().__init__("the pod that had the request ended before it answered, try again")


class Leaving(NotServed):
    """This activator lets go of what it holds."""

    code = "leaving"

    def __init__(self) -> None:
        super().__init__("this activator is on its way out, try again")

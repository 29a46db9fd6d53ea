"""What `web.py` answers with: statuses, bodies and headers, errors among them, packed where the caller asks for it.

The bodies of errors are `codec.py`'s, how they are packed is `packing.py`'s. It must not know requests.
"""

from collections.abc import Sequence

import msgspec

from modelward_runtime.codec import Answer, encode_error
from modelward_runtime.errors import ApiError, Busy, EpsilonRefused, MethodNotAllowed, Unauthenticated
from modelward_runtime.packing import LEAST_BYTES, least_packed, pack
from modelward_runtime.paths import state_body
from modelward_runtime.request import Header

_JSON = (b"content-type", b"application/json")
_ONLY_JSON = (_JSON,)
_OCTETS = (b"content-type", b"application/octet-stream")
_PACKED = (b"content-encoding", b"gzip")
_VARIES = (b"vary", b"accept-encoding")
_CHALLENGE = (b"www-authenticate", b"Bearer")


class Response(msgspec.Struct):
    """Status, body, and headers but for the length; whether the body may be packed for a caller who asks."""

    status: int
    body: bytes
    headers: Sequence[Header]
    packable: bool = False


def json_response(value: object) -> Response:
    """A value as JSON."""
    return Response(200, msgspec.json.encode(value), _ONLY_JSON, packable=True)


def state_response(action: str, *, holds: bool, name: str = "") -> Response:
    """Whether something is live or ready: 200 or 503, and the same in words."""
    return Response(200 if holds else 503, state_body(action, holds=holds, name=name), _ONLY_JSON)


def inference_response(answer: Answer) -> Response:
    """An inference's."""
    if answer.header_length is None:
        return Response(200, answer.body, _ONLY_JSON, not answer.has_text)
    length = (b"inference-header-content-length", b"%d" % answer.header_length)
    return Response(200, answer.body, (_OCTETS, length), not answer.has_text)


def error_response(error: ApiError) -> Response:
    """An error as every path answers it."""
    headers = [_JSON]
    if isinstance(error, Busy | EpsilonRefused) and error.retry_after:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Unauthenticated):
        headers.append(_CHALLENGE)
    return Response(error.status, encode_error(error), headers)


def may_be_packed(response: Response, accepted: bytes) -> bool:
    """Whether `pack_as_asked` might change it."""
    return response.packable and (len(response.body) >= LEAST_BYTES or b";" in accepted)


async def pack_as_asked(response: Response, accepted: bytes) -> None:
    """Pack the body where the caller wants that; a cache hears that others may want it otherwise."""
    least = least_packed(accepted)
    if least is not None and len(response.body) >= least:
        response.body = await pack(response.body)
        response.headers = [*response.headers, _PACKED, _VARIES]
    elif len(response.body) >= LEAST_BYTES:
        response.headers = [*response.headers, _VARIES]

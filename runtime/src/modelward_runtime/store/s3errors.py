"""What the client of s3:// and gs:// says when it has failed, as a reason and one sentence.

`s3.py` asks, and the logs' sinks. Only the store's error code and text get into a message: no address, header or signature.
"""

import re

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import S3Location, fetch_error

BUSY = re.compile(r"\bstatus: (408|425|429|5\d\d)\b")  # what may be over soon, whatever comes with it
PAGE = re.compile(r"<!doctype html|<html", re.IGNORECASE)
# No listing, or no object's head: the client does not say what came instead.
ILLEGIBLE = re.compile(r"source: (InvalidListResponse|Header) \{")


def explain(error: Exception, doing: str, location: S3Location) -> LoadError:
    """The store's error as a reason and one sentence; transient when the same request may succeed later."""
    text = str(error)
    code, said = _said(text)
    told = f"{doing}: {said}"
    if code == "NoSuchBucket":
        return fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{doing}: the bucket {location.bucket!r} does not exist")
    if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
        return fetch_error(LoadReason.BUCKET_NOT_FOUND, f"{told}; is the region right?")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or code in _DENIED or _REFUSED.search(text):
        return fetch_error(LoadReason.ACCESS_DENIED, told)
    if isinstance(error, FileNotFoundError):
        return fetch_error(LoadReason.MODEL_NOT_FOUND, f"{doing}: there is no such object")
    if re.search(r"invalid peer certificate|InvalidCertificate|CertificateRequired|BadSignature|InvalidCACert", text):
        return fetch_error(
            LoadReason.CERTIFICATE_INVALID, f"{told}; a private CA belongs into model.storage.caBundleRef"
        )
    return fetch_error(LoadReason.SOURCE_UNREACHABLE, told, permanent="TooManyRedirects" in text)


def with_rest(error: LoadError, seconds: float) -> LoadError:
    """The error with the time for which the store asks to be left alone, where it does."""
    if not seconds:
        return error
    told = f"{error.message}, and asks to be left alone for {seconds:.0f} s"
    return LoadError(error.reason, told, error.stage, permanent=error.permanent, retry_after=seconds)


def page_error(doing: str) -> LoadError:
    """What is said of a page for people; the same request would bring it again."""
    return fetch_error(
        LoadReason.INVALID_MODEL,
        f"{doing}: a web page came in place of the store's answer: is model.storage.endpoint the store's API, and not its console or a "
        "proxy's page to log in?",
    )


def said_by_a_page(error: LoadError) -> LoadError:
    """The error with the doubt that it was the store which said so: a gateway's page for what is missing, or a console's."""
    told = f"{error.message}; a web page said so: is model.storage.endpoint the store's API?"
    return LoadError(error.reason, told, error.stage, permanent=error.permanent)


_DENIED = frozenset(
    {
        "AccessDenied",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "XAdminUserNotFound",  # versitygw, for an unknown access key
    }
)

# Of a listing the client has one kind of error for all that the store answers; its debug text has the status.
_REFUSED = re.compile(r"\bstatus: 40[13]\b")

# The innermost cause that the client's debug text carries, the most telling first.
_CAUSES = (
    r"invalid peer certificate: ([^\"\n]{1,200})",
    r"(InvalidCertificate\([^)]*\))",
    r"(received corrupt message of type InvalidContentType)",  # plain HTTP behind an https:// endpoint
    r"failed to lookup address information: ([^\"\n]{1,200})",
    r'message: "([^"\n]{1,200})"',
    r"(TooManyRedirects|TimedOut|timed out|connection closed before message completed|end of file before message length reached)",
    r"status: (\d{3}[^,\n]{0,40})",
)


def _said(text: str) -> tuple[str, str]:
    """The store's error code, if it sent one, and a sentence without addresses, headers or signatures."""
    code = re.search(r"<Code>([^<]{1,100})</Code>", text)
    message = re.search(r"<Message>([^<]{1,300})</Message>", text)
    if code:
        return code[1], f"{code[1]}: {message[1]}" if message else code[1]
    causes = [found[1] for pattern in _CAUSES if (found := re.search(pattern, text))]
    first = text.partition("\n\nDebug source")[0].partition("\n")[0]
    summary = re.sub(r"https?://\S+", "the store", first)[-200:]
    return "", causes[0] if causes else summary

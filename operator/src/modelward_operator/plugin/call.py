"""One HTTP request to a forwarded port, in the name of the endpoint behind it. Called by `predict_cli.py`; the only I/O here is that."""

import http.client
import socket
import ssl
from collections.abc import Mapping

from modelward_operator.plugin.kubectl import KubectlError
from modelward_operator.plugin.predict import Answer

LIMIT = 256 * 1024 * 1024
"""Bytes of an answer that are read."""


def call(
    address: str,
    path: str,
    host: str,
    *,
    body: bytes | None,
    headers: Mapping[str, str],
    trust: ssl.SSLContext | None,
    timeout: float,
) -> Answer:
    """Send one request to HOST:PORT and return the answer. With `trust` over TLS, to a certificate for `host`. Raises KubectlError."""
    machine, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(machine, int(port), timeout=timeout)
    try:
        connection.sock = socket.create_connection((machine, int(port)), timeout)
        if trust is not None:
            connection.sock = trust.wrap_socket(connection.sock, server_hostname=host)
        connection.request("GET" if body is None else "POST", path, body, {"Host": host, **headers})
        response = connection.getresponse()
        return Answer(response.status, response.read(LIMIT), response.headers.get("Retry-After", ""))
    except ssl.SSLCertVerificationError as error:
        raise KubectlError(
            f"its certificate is not one for {host} that is trusted here: {error.verify_message}"
        ) from error
    except TimeoutError as error:
        raise KubectlError(f"no answer within {timeout:g} s; --timeout waits longer") from error
    except (OSError, http.client.HTTPException) as error:
        raise KubectlError(f"the connection broke: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def trusting(pem: str) -> ssl.SSLContext:
    """Return a context that trusts these certificates alone. Raises KubectlError where there are none."""
    try:
        return ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        raise KubectlError(f"the CA bundle holds no certificate that can be read: {error}") from error

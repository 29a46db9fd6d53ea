"""The Kubernetes API, spoken to as the pod's own service account. Used by `apiserver.py`, and by the ledger of epsilon (`shards.py`).

The token and the CA are read for each request, because the kubelet renews them. It must not put a token into a message, nor judge an
answer: what a status means, and whether to ask twice, knows who asks.
"""

from pathlib import Path

from modelward_runtime.access.client import Answer, Client
from modelward_runtime.access.identity import Unreachable


class Kubernetes:
    """One API server."""

    def __init__(self, server: str, ca_file: str, token_file: str) -> None:
        self._client = Client(server, Path(ca_file), only_ca=True)
        self._token_file = Path(token_file)

    async def call(self, method: str, path: str, body: bytes = b"", *, seconds: float) -> Answer:
        """The answer, whatever its status. Raises `Unreachable`."""
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise Unreachable(f"{self._token_file} cannot be read") from None
        headers = {"content-type": "application/json", "accept": "application/json", "authorization": f"Bearer {token}"}
        return await self._client.call(method, headers, body, path=path, seconds=seconds)

    def close(self) -> None:
        """Let kept connections go."""
        self._client.close()

"""A certificate that the operator issues is one that the runtime takes, and both call it by the same hash and time."""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from modelward_operator.cluster.x509 import fingerprint, new_authority, new_leaf, validity
from modelward_operator.status.reported import access_of
from modelward_runtime.access.certificate import make_context, read_pair

NAMES = ("fraud", "fraud.risk", "fraud.risk.svc", "fraud.risk.svc.cluster.local")


def test_the_runtime_serves_what_the_operator_issues_and_a_client_of_the_bundle_believes_it(tmp_path: Path) -> None:
    authority = new_authority(datetime.now(UTC))
    leaf = new_leaf(authority, NAMES, datetime.now(UTC))
    (tmp_path / "tls.crt").write_text(leaf.certificate)
    (tmp_path / "tls.key").write_text(leaf.key)
    pair = read_pair(tmp_path)
    said = access_of({"access": {"authentication": "TokenReview", "tls": pair.told}})
    assert fingerprint(leaf.certificate) == said.sha256
    assert validity(leaf.certificate)[1] == said.not_after
    client = ssl.create_default_context(cadata=authority.certificate)
    for name in NAMES:
        shake_hands(make_context(pair), client, name)


def shake_hands(served: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Run a TLS handshake in memory; raises ssl.SSLError when the client does not believe the server."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(down, up, server_hostname=name), served.wrap_bio(up, down, server_side=True)]
    done = [False, False]
    while not all(done):
        for index, side in enumerate(sides):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                continue

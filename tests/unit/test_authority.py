"""The operator's CA: what its certificates say, how it is kept, and how one follows another."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from modelward_operator.cluster.authority import ACTIVATOR, BELIEVED, NAME, OVERLAP, REIGN, SIGNER, Authorities
from modelward_operator.cluster.client import Client, NotFound
from modelward_operator.cluster.x509 import Pair, fingerprint, is_true, new_authority, new_leaf, validity
from modelward_operator.errors import Conflict, Unreadable
from modelward_operator.facts import Json

BEGIN = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
NAMES = ("fraud.risk.svc", "fraud.risk.svc.cluster.local")
DOMAIN = "cluster.local"


def load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def check(leaf: Pair, bundle: str, name: str, now: datetime) -> None:
    """Verify as a TLS client does, by RFC 5280; raises VerificationError."""
    roots = Store(x509.load_pem_x509_certificates(bundle.encode()))
    verifier = PolicyBuilder().store(roots).time(now).build_server_verifier(x509.DNSName(name))
    verifier.verify(load(leaf.certificate), [])


def unbound_authority(now: datetime) -> Pair:
    """Return a CA without name constraints, as releases before made it."""
    pair = new_authority(now, DOMAIN)
    key, bound = load_pem_private_key(pair.key.encode(), None), load(pair.certificate)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    draft = x509.CertificateBuilder(
        issuer_name=bound.issuer,
        subject_name=bound.subject,
        public_key=key.public_key(),
        serial_number=bound.serial_number,
        not_valid_before=bound.not_valid_before_utc,
        not_valid_after=bound.not_valid_after_utc,
        extensions=[e for e in bound.extensions if not isinstance(e.value, x509.NameConstraints)],
    )
    return Pair(draft.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode(), pair.key)


class Secrets:
    """The API server, as far as one Secret goes."""

    def __init__(self, name: str = NAME) -> None:
        self.name = name
        self.live: dict[str, Any] = {}
        self.requests: list[str] = []

    async def get(self, _resource: object, namespace: str, name: str) -> Json:
        self.requests.append("get")
        assert (namespace, name) == ("modelward-system", self.name)
        if not self.live:
            raise NotFound("no")
        return self.live

    async def create(self, _resource: object, body: Json, *, manager: str) -> Json:
        self.requests.append(f"create by {manager}")
        if self.live:
            raise Conflict("exists")
        self.live = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        return self.live

    async def update(self, _resource: object, body: Json, *, manager: str) -> Json:
        self.requests.append(f"update by {manager}")
        if body["metadata"]["resourceVersion"] != self.live["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        version = str(int(body["metadata"]["resourceVersion"]) + 1)
        self.live = {**body, "metadata": {**body["metadata"], "resourceVersion": version}}
        return self.live


class Clock:
    """The time, moved by hand."""

    def __init__(self) -> None:
        self.now = BEGIN

    def passes(self, time: timedelta) -> None:
        self.now += time

    def seconds(self) -> float:
        return (self.now - BEGIN).total_seconds()


@pytest.fixture
def secrets() -> Secrets:
    return Secrets()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authorities(secrets: Secrets, clock: Clock) -> Authorities:
    client = cast("Client", secrets)
    return Authorities(client, "modelward-system", now=lambda: clock.now, clock=clock.seconds)


def test_a_leaf_is_what_a_tls_client_asks_for() -> None:
    authority = new_authority(BEGIN, DOMAIN)
    leaf = new_leaf(authority, NAMES, BEGIN)
    for name in NAMES:
        check(leaf, authority.certificate, name, BEGIN)
    certificate = load(leaf.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_after_utc - BEGIN == timedelta(days=90)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = load_pem_private_key(leaf.key.encode(), None)
    assert key.public_key() == certificate.public_key()


@pytest.mark.parametrize(
    ("reason", "name", "after"),
    [
        ("another name", "fraud.shop.svc", timedelta()),
        ("a name below", "a.fraud.risk.svc", timedelta()),
        ("a shorter name", "fraud.risk", timedelta()),
        ("the bare name", "fraud", timedelta()),
        ("expired", "fraud.risk.svc", timedelta(days=91)),
    ],
)
def test_a_client_refuses_it_otherwise(reason: str, name: str, after: timedelta) -> None:
    authority = new_authority(BEGIN, DOMAIN)
    with pytest.raises(VerificationError):
        check(new_leaf(authority, NAMES, BEGIN), authority.certificate, name, BEGIN + after)


AUTHORITY = new_authority(BEGIN, DOMAIN)
LEAF = new_leaf(AUTHORITY, NAMES, BEGIN)
CENTURY = "2126-11-23T12:00:00Z"
STRANGER = new_leaf(new_authority(BEGIN, DOMAIN), NAMES, BEGIN).certificate


def record(pem: str = LEAF.certificate, **said: str) -> dict[str, str]:
    """What `issuer.py` notes down of a certificate, but for what is said otherwise."""
    begin, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in validity(pem))
    true = {
        "tls.crt": pem,
        "sha256": fingerprint(pem),
        "notBefore": begin,
        "notAfter": end,
        "dnsNames": " ".join(NAMES),
    }
    return {**true, "issuer": fingerprint(AUTHORITY.certificate), **said}


@pytest.mark.parametrize(
    ("reason", "said", "expected"),
    [
        ("as it is written", record(), True),
        ("it lasts longer than its certificate", record(notAfter=CENTURY), False),
        ("it begins later", record(notBefore="2026-11-24T12:00:00Z"), False),
        ("it is for other names", record(dnsNames="fraud.shop.svc"), False),
        ("its hash is another's", record(sha256="ab" * 32), False),
        ("more stands beside the certificate", record(LEAF.certificate + LEAF.certificate), False),
        ("another CA signed it", record(STRANGER), False),
        ("its CA is in no bundle", record(issuer="ab" * 32), False),
        ("it signed itself", record(AUTHORITY.certificate), False),
        ("it is no certificate", {**record(), "tls.crt": "PEM"}, False),
        ("a time without a zone", record(notAfter="2027-02-21T12:00:00"), False),
    ],
)
def test_a_record_is_true_that_says_what_its_certificate_does(
    reason: str, said: dict[str, str], expected: bool
) -> None:
    """Whoever may make ConfigMaps may make one that looks like a record."""
    assert expected == is_true(said, new_authority(BEGIN, DOMAIN).certificate + AUTHORITY.certificate), reason


@pytest.mark.parametrize("name", ["www.example.com", "fraud.risk", "svc.example.com", "fraud.risk.svc.other.domain"])
def test_a_ca_counts_for_nothing_outside_of_the_cluster_whatever_it_signs(name: str) -> None:
    authority = new_authority(BEGIN, DOMAIN)
    with pytest.raises(VerificationError):
        check(new_leaf(authority, [name], BEGIN), authority.certificate, name, BEGIN)
    assert load(authority.certificate).extensions.get_extension_for_class(x509.NameConstraints).critical


async def test_a_ca_of_another_domain_signs_no_more_and_its_successor_does_at_once(
    authorities: Authorities, secrets: Secrets, clock: Clock
) -> None:
    old = await authorities.public()
    moved = Authorities(
        cast("Client", secrets), "modelward-system", domain="else.where", now=lambda: clock.now, clock=clock.seconds
    )
    both = await moved.public()
    assert len(both.known) == 2
    assert both.signer != old.signer
    leaf = await moved.sign(["fraud.risk.svc.else.where"])
    check(leaf.pair, both.bundle, "fraud.risk.svc.else.where", clock.now)


async def test_a_ca_that_is_bound_to_nothing_signs_until_clients_know_its_successor(
    authorities: Authorities, secrets: Secrets, clock: Clock
) -> None:
    first = unbound_authority(clock.now - OVERLAP)
    data = {"a.crt": first.certificate, "a.key": first.key}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    secrets.live = {"metadata": {"resourceVersion": "1"}, "data": encoded}
    both = await authorities.public()
    assert len(both.known) == 2
    assert both.signer == fingerprint(first.certificate)
    clock.passes(OVERLAP + timedelta(days=1))
    after = await authorities.public()
    assert after.known == both.known
    assert after.signer != both.signer


def test_a_leaf_of_another_ca_is_refused_and_two_cas_have_two_names() -> None:
    one, two = new_authority(BEGIN, DOMAIN), new_authority(BEGIN, DOMAIN)
    with pytest.raises(VerificationError):
        check(new_leaf(one, NAMES, BEGIN), two.certificate, NAMES[0], BEGIN)
    assert load(one.certificate).subject != load(two.certificate).subject


def test_a_key_is_in_no_representation() -> None:
    pair = new_authority(BEGIN, DOMAIN)
    assert "PRIVATE" not in repr(pair)
    assert repr(pair) == f"Pair({fingerprint(pair.certificate)})"


async def test_it_is_made_once_however_many_ask_at_once(authorities: Authorities, secrets: Secrets) -> None:
    found = await asyncio.gather(*(authorities.public() for _ in range(5)))
    assert len({authority.signer for authority in found}) == 1
    assert secrets.requests == ["get", "create by modelward"]


async def test_it_survives_the_process(authorities: Authorities, secrets: Secrets, clock: Clock) -> None:
    before = await authorities.public()
    client = cast("Client", secrets)
    anew = Authorities(client, "modelward-system", now=lambda: clock.now, clock=clock.seconds)
    assert before == await anew.public()


async def test_a_successor_is_published_long_before_it_signs_and_the_old_one_stays_until_it_expires(
    authorities: Authorities, clock: Clock
) -> None:
    first = await authorities.public()
    clock.passes(REIGN - timedelta(days=1))
    assert first == await authorities.public()
    clock.passes(timedelta(days=2))
    both = await authorities.public()
    assert len(both.known) == 2
    assert both.signer == first.signer
    leaf = await authorities.sign(NAMES)
    assert leaf.issuer == first.signer
    check(leaf.pair, first.bundle, NAMES[0], clock.now)
    clock.passes(OVERLAP + timedelta(days=1))
    second = await authorities.public()
    assert second.signer != first.signer
    assert second.known == both.known
    late = await authorities.sign(NAMES)
    check(late.pair, both.bundle, NAMES[0], clock.now)
    clock.passes(timedelta(days=365))
    assert len((await authorities.public()).known) == 1


async def test_no_leaf_outlives_its_ca(clock: Clock) -> None:
    authority = new_authority(BEGIN, DOMAIN)
    end = validity(authority.certificate)[1]
    assert validity(new_leaf(authority, NAMES, end - timedelta(days=5)).certificate)[1] == end


async def test_what_cannot_be_read_is_not_replaced(authorities: Authorities, secrets: Secrets) -> None:
    secrets.live = {"metadata": {"resourceVersion": "1"}, "data": {"a.crt": base64.b64encode(b"no PEM").decode()}}
    with pytest.raises(Unreadable):
        await authorities.public()
    assert secrets.requests == ["get"]


async def test_a_write_that_lost_a_race_begins_anew(
    authorities: Authorities, secrets: Secrets, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authorities(cast("Client", secrets), "modelward-system", now=lambda: clock.now, clock=clock.seconds)

    async def absent(*_: object) -> Json:
        raise NotFound("not yet")

    with monkeypatch.context() as racing:
        racing.setattr(secrets, "get", absent)
        await other.public()
        with pytest.raises(Conflict):
            await authorities.public()
    assert await authorities.public() == await other.public()


async def test_the_secret_is_read_again_now_and_then(authorities: Authorities, secrets: Secrets, clock: Clock) -> None:
    await authorities.public()
    secrets.live = {}
    clock.passes(timedelta(seconds=BELIEVED + 1))
    await authorities.public()
    assert secrets.requests == ["get", "create by modelward"] * 2


async def test_of_a_mounted_secret_two_entries_are_the_ca_that_signs_also_when_another_does(clock: Clock) -> None:
    secrets = Secrets(ACTIVATOR)
    made = Authorities(
        cast("Client", secrets),
        "modelward-system",
        name=ACTIVATOR,
        is_mounted=True,
        now=lambda: clock.now,
        clock=clock.seconds,
    )

    async def mounted() -> str:
        public = await made.public()
        certificate, key = (base64.b64decode(secrets.live["data"][name]).decode() for name in SIGNER)
        assert (public.signer, certificate in public.bundle) == (fingerprint(certificate), True)
        signing = load_pem_private_key(key.encode(), None)
        assert signing.public_key() == load(certificate).public_key()
        return certificate

    first = await mounted()
    clock.passes(REIGN + timedelta(days=1))
    assert await mounted() == first, "the successor is only published yet"
    clock.passes(OVERLAP + timedelta(days=1))
    assert await mounted() != first
    before = len(secrets.requests)
    clock.passes(timedelta(seconds=BELIEVED + 1))
    await mounted()
    assert secrets.requests[before:] == ["get"], "nothing is written where nothing changed"

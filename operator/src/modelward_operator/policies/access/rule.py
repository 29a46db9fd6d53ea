"""Access: who may call the endpoint, over what, how much, and where its pods may connect. Asked by `rooms.py`.

It adds; whether a caller is who it says, only the runtime can know. No token, key or certificate passes through here.
"""

from collections.abc import Iterator
from typing import Any, Final

from modelward_operator.api.access import AUDIENCE, Authentication, AuthenticationMode, Jwt, Tls, TlsMode
from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.facts import Given
from modelward_operator.plan import names
from modelward_operator.policies.access.destinations import destinations
from modelward_operator.policies.apiserver import api_files, api_volume
from modelward_operator.rulings import Addition, Ruling, Slot, volume

CLOSED: Final = Authentication()
"""What an absent struct means."""
OFF: Final = Tls(mode=TlsMode.OFF)


def access(given: Given, spec: ModelDeploymentSpec) -> Ruling:
    """Close the endpoint but to whom the spec opens it, and the way out but to what the spec needs."""
    return Ruling(
        additions=frozenset([*_peers(given, spec), *_boot(given, spec), *_limits(spec), *_volumes(given, spec)])
    )


def authentication_of(spec: ModelDeploymentSpec) -> Authentication:
    """Return who may call; mode TokenReview where the spec does not say."""
    return spec.security.authentication or CLOSED


def tls_of(spec: ModelDeploymentSpec) -> Tls:
    """Return whose certificate is served; mode Off where the spec does not say."""
    return spec.security.tls or OFF


def asks_api(spec: ModelDeploymentSpec) -> bool:
    """True when the pods ask the API server who may call."""
    return authentication_of(spec).mode is not AuthenticationMode.NONE


def gateway_peers(given: Given, spec: ModelDeploymentSpec) -> list[str]:
    """Return the namespaces and networks from which a gateway connects, sorted: those of the Gateways where the spec does not say."""
    told = spec.exposure
    if told is None:
        return []
    named = {peer.namespace or peer.cidr or "" for peer in told.allow_from}
    refs = told.gateway.parent_refs if told.gateway else ()
    return sorted(named or {ref.namespace or given.key.namespace for ref in refs})


def _peers(given: Given, spec: ModelDeploymentSpec) -> Iterator[Addition]:
    policy = spec.security.network_policy
    peers = {given.key.namespace, *(peer.namespace for peer in (policy.allow_from if policy else ()))}
    for peer in peers | set(gateway_peers(given, spec)):
        yield Addition(Slot.INGRESS, peer, peer)
    needed = [*destinations(spec), *([names.API_SERVER] if asks_api(spec) else ())]
    if jwt := authentication_of(spec).jwt:
        needed.append(jwt.jwks_uri)
    for url in needed:
        yield Addition(Slot.EGRESS, url, url)


def _boot(given: Given, spec: ModelDeploymentSpec) -> Iterator[Addition]:
    authentication = authentication_of(spec)
    section: dict[str, Any] = {"authentication": _authentication(authentication)}
    # under mode None nobody is asked for a right to it, and it still says whose logs and whose retention these are
    section["authorization"] = {"namespace": given.key.namespace, "name": given.key.name}
    if tls_of(spec).mode is not TlsMode.OFF:
        section["tls"] = {"directory": names.TLS_DIR}
    yield Addition(Slot.BOOT, "access", names.canonical_json(section))


def _authentication(rules: Authentication) -> dict[str, Any]:
    """Return `access.authentication` of boot.json; lists are sorted, so that their order rolls no pods."""
    if rules.mode is AuthenticationMode.NONE:
        return {"mode": "None"}
    if rules.jwt is not None:
        return {"mode": "JWT", **_jwt(rules.jwt), **api_files()}
    return {"mode": "TokenReview", "audience": rules.audience or AUDIENCE, **api_files()}


def _jwt(jwt: Jwt) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "issuer": jwt.issuer,
        "audiences": sorted(set(jwt.audiences)),
        "jwksUri": jwt.jwks_uri,
        "algorithms": sorted({algorithm.value for algorithm in jwt.algorithms}),
        "usernameClaim": jwt.username_claim,
        "usernamePrefix": jwt.username_prefix,
    }
    if jwt.groups_claim:
        keys |= {"groupsClaim": jwt.groups_claim, "groupsPrefix": jwt.groups_prefix}
    if jwt.ca_bundle_ref:
        keys["caBundleFile"] = f"{names.JWKS_CA_DIR}/ca.crt"
    return keys


def _limits(spec: ModelDeploymentSpec) -> Iterator[Addition]:
    if limit := spec.security.rate_limit:
        section = limit.model_dump(mode="json", by_alias=True, exclude_none=True)
        yield Addition(Slot.POLICY, "limits", names.canonical_json(section))


def _volumes(given: Given, spec: ModelDeploymentSpec) -> Iterator[Addition]:
    if asks_api(spec):
        yield api_volume()
    jwt = authentication_of(spec).jwt
    if jwt and jwt.ca_bundle_ref:
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        yield volume("jwks-ca", names.JWKS_CA_DIR, {"configMap": {"name": jwt.ca_bundle_ref.name, "items": items}})
    tls = tls_of(spec)
    if tls.mode is not TlsMode.OFF:
        secret = tls.secret_ref.name if tls.secret_ref else names.tls_name(given.key.name)
        pair = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        # Every user of the pod may read the file, and there is one: the runtime's. It is in memory, and no other pod sees it.
        yield volume("tls", names.TLS_DIR, {"secret": {"secretName": secret, "items": pair, "defaultMode": 0o444}})

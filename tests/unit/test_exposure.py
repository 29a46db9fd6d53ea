"""What exposes a model, who may come in for it, and what EndpointExposed says, situation by situation."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.cluster.bells import Bells
from modelward_operator.cluster.kinds import GATEWAY
from modelward_operator.cluster.store import Store
from modelward_operator.facts import Applied, Given, Json, Key, Refusal, WayIn
from modelward_operator.plan.exposure import claims
from modelward_operator.plan.routes import drawn as drawn_table
from modelward_operator.plan.routes import read_table
from modelward_operator.status.summarise import look_again_after
from tests.makers import NOW, drawn, make_given, make_model
from tests.unit.test_certificate_plan import AUTHORITY
from tests.unit.test_summarise import NOTHING_WRITTEN, SERVES, condition, says, status_of, with_pods

Gateways = dict[tuple[str, str], Json]
PUBLIC = ("gateways", "public")
BY_GATEWAY: Json = {
    "hostnames": ["fraud.example.com"],
    "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}]},
}
BOTH: Json = {**BY_GATEWAY, "grpcHostnames": ["fraud-grpc.example.com"]}
BY_INGRESS: Json = {
    "hostnames": ["fraud.example.com"],
    "allowFrom": [{"namespace": "ingress-nginx"}],
    "ingress": {"ingressClassName": "nginx", "tls": {"secretName": "fraud-tls"}},
}
OLD, NEW = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"


def gateway(*listeners: Json, addresses: tuple[str, ...] = ("192.0.2.10",)) -> Json:
    default = ({"name": "https", "port": 443, "protocol": "HTTPS"}, {"name": "http", "port": 80, "protocol": "HTTP"})
    found = [{"type": "IPAddress", "value": address} for address in addresses]
    return {"spec": {"listeners": list(listeners or default)}, "status": {"addresses": found}}


def said(accepted: str = "True", *, type_: str = "Accepted", section: str = "https", **more: Any) -> Json:
    """What a controller writes for a parentRef."""
    conditions = {"Accepted": "True", "ResolvedRefs": "True"} | {type_: accepted}
    return {
        "controllerName": "example.com/controller",
        "parentRef": {"name": "public", "namespace": "gateways", "sectionName": section},
        "conditions": [
            {"type": name, "status": status, "observedGeneration": 1, **(more if name == type_ else {})}
            for name, status in conditions.items()
        ],
    }


def live(given: Given, kind: str, *entries: Json, created: str = OLD) -> Json:
    """A planned object as the API server holds it, with what controllers wrote."""
    planned = next(o for o in drawn(given).objects if o["kind"] == kind)
    field = "ancestors" if kind == "BackendTLSPolicy" else "parents"
    metadata = {**planned["metadata"], "generation": 1, "creationTimestamp": created}
    return {**planned, "metadata": metadata, "status": {field: list(entries)}}


def situation(
    exposure: Json,
    *entries: Json,
    gateways: Gateways | None = None,
    kind: str = "HTTPRoute",
    security: Json | None = None,
    **facts: Any,
) -> Given:
    """A model that serves and is exposed, whose route says `entries`."""
    given = with_pods({"exposure": exposure, **({"security": security} if security else {})}, SERVES)
    given = replace(given, authority=AUTHORITY, way_in=WayIn({PUBLIC: gateway()} if gateways is None else gateways))
    given = replace(given, children=(live(given, kind, *entries),)) if entries else given
    return replace(given, **facts)


def exposed(given: Given, applied: Applied = NOTHING_WRITTEN) -> tuple[str, str, str]:
    found = condition(status_of(given, applied), "EndpointExposed")
    return found.get("status", "absent"), found.get("reason", ""), found.get("message", "")


def test_a_model_without_an_exposure_has_no_route_and_no_condition() -> None:
    given = with_pods(None, SERVES)
    assert exposed(given) == ("absent", "", "")
    assert "exposure" not in status_of(given)
    assert not {"HTTPRoute", "GRPCRoute", "Ingress", "BackendTLSPolicy"} & {o["kind"] for o in drawn(given).objects}


def test_a_route_that_is_taken_says_where_clients_call_and_where_from_they_are_let_in() -> None:
    given = situation(BY_GATEWAY, said())
    status = status_of(given)
    assert exposed(given) == (
        "True",
        "Exposed",
        "REST at https://fraud.example.com through Gateway gateways/public; the network policy lets its pods in from gateways",
    )
    assert status["url"] == "https://fraud.example.com"
    assert status["address"]["http"] == "http://fraud.risk.svc:8080", "clients inside stay inside"
    assert status["exposure"] == {"url": "https://fraud.example.com", "addresses": ["192.0.2.10"]}
    assert says(status, "Ready") == ("True", "Serving")
    assert condition(status, "Ready")["message"] == "1 of 1 pods serve at https://fraud.example.com"


DECISIONS: list[tuple[str, tuple[Json, ...], tuple[str, str], str]] = [
    ("nobody has said anything", (), ("Unknown", "RoutePending"), "at its listener https takes HTTPRoute fraud"),
    ("its listener", (said("False", reason="NotAllowed", message="no"),), ("False", "RouteRefused"), "NotAllowed: no"),
    ("another listener took it", (said(section="http"),), ("Unknown", "RoutePending"), "at its listener https"),
    ("its backend", (said("False", type_="ResolvedRefs", reason="BackendNotFound"),), ("False", "RouteRefused"), "BackendNotFound"),
    ("one controller of two", (said(), said("False", reason="No")), ("False", "RouteRefused"), "No"),
    ("not decided", (said("Unknown"),), ("Unknown", "RoutePending"), "no controller has said yet"),
    ("an earlier generation", (said(observedGeneration=0),), ("Unknown", "RoutePending"), "no controller has said yet"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "entries", "expected", "words"), DECISIONS, ids=[case[0] for case in DECISIONS])
def test_what_a_controller_says_of_a_route(
    reason: str, entries: tuple[Json, ...], expected: tuple[str, str], words: str
) -> None:
    given = situation(BY_GATEWAY, *entries)
    status, why, message = exposed(given)
    assert expected == (status, why), reason
    assert words in message
    assert says(status_of(given), "Ready") == expected, "who is to be reached outside is not Ready before"
    assert status_of(given)["url"] == "http://fraud.risk.svc:8080", "the address that answers"


def test_each_route_and_each_gateway_must_take_it() -> None:
    given = situation(BOTH, said())
    assert exposed(given)[1:] == (
        "RoutePending",
        (
            "no controller has said yet whether Gateway gateways/public at its listener https takes GRPCRoute fraud: is one running that "
            "does, for its GatewayClass?"
        ),
    )
    given = replace(given, children=(*given.children, live(given, "GRPCRoute", said())))
    assert exposed(given)[2].startswith(
        "REST at https://fraud.example.com and gRPC at fraud-grpc.example.com:443 through Gateway gateways/public;"
    )


def test_a_route_to_every_listener_is_judged_by_what_is_said_of_any() -> None:
    every = {**BY_GATEWAY, "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}}
    whole = said()
    del whole["parentRef"]["sectionName"]
    assert exposed(situation(every, whole))[0] == "True"
    assert exposed(situation(every, said(section="http")))[0] == "True"


def test_pods_that_serve_tls_need_a_gateway_that_heeds_it() -> None:
    given = situation(BY_GATEWAY, said(), security={"tls": {"mode": "Managed"}})
    assert exposed(given)[1:] == (
        "RoutePending",
        "no controller has said yet whether a gateway takes BackendTLSPolicy fraud: is one running that does, for its GatewayClass?",
    )
    heeded = replace(given, children=(*given.children, live(given, "BackendTLSPolicy", said())))
    assert exposed(heeded)[0] == "True"
    refused = live(given, "BackendTLSPolicy", said("False", type_="ResolvedRefs", reason="NoValidCACertificate"))
    assert "NoValidCACertificate" in exposed(replace(given, children=(*given.children, refused)))[2]


def test_without_the_gateway_api_nothing_is_made_and_the_model_serves_inside() -> None:
    unserved = frozenset({"HTTPRoute", "GRPCRoute", "BackendTLSPolicy", "Gateway"})
    given = situation(BOTH, gateways={}, unserved=unserved)
    assert not unserved & {o["kind"] for o in drawn(given).objects}
    assert exposed(given) == (
        "False",
        "GatewayAPINotInstalled",
        (
            "this cluster does not know GRPCRoute, Gateway, HTTPRoute of gateway.networking.k8s.io/v1: install the Gateway API; no route "
            "stands until then"
        ),
    )


def test_no_route_leads_to_pods_with_tls_before_the_gateway_can_be_told_of_it() -> None:
    """It would send them tokens in clear."""
    given = situation(BY_GATEWAY, security={"tls": {"mode": "Managed"}}, unserved=frozenset({"BackendTLSPolicy"}))
    assert "HTTPRoute" not in {o["kind"] for o in drawn(given).objects}
    assert "install the Gateway API 1.4 or newer" in exposed(given)[2]


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        ({}, ("False", "GatewayNotFound", "there is no Gateway gateways/public")),
        (
            {PUBLIC: gateway({"name": "web", "port": 80, "protocol": "HTTP"})},
            ("False", "ListenerNotFound", "Gateway gateways/public has no listener https; it has web"),
        ),
    ],
)
def test_a_gateway_or_a_listener_that_is_not_there(gateways: Gateways, expected: tuple[str, str, str]) -> None:
    assert expected == exposed(situation(BY_GATEWAY, gateways=gateways))


def test_of_a_gateway_that_may_not_be_read_its_controllers_word_counts() -> None:
    given = situation(BY_GATEWAY, said(), gateways={})
    given = replace(given, way_in=WayIn(hidden=frozenset({PUBLIC})))
    status, _, message = exposed(given)
    assert status == "True"
    assert "its scheme and port are not known" in message
    assert status_of(given)["url"] == "http://fraud.risk.svc:8080"


URLS: list[tuple[str, Json, tuple[Json, ...], str | None]] = [
    ("https is preferred", {}, (), "https://fraud.example.com"),
    ("another port", {}, ({"name": "a", "port": 8443, "protocol": "HTTPS"},), "https://fraud.example.com:8443"),
    ("plain", {}, ({"name": "a", "port": 8000, "protocol": "HTTP"},), "http://fraud.example.com:8000"),
    (
        "by the listener's hostname",
        {},
        (
            {"name": "a", "port": 443, "protocol": "HTTPS", "hostname": "*.example.net"},
            {"name": "b", "port": 444, "protocol": "HTTPS", "hostname": "*.example.com"},
        ),
        "https://fraud.example.com:444",
    ),
    ("no listener takes it", {}, ({"name": "a", "port": 443, "protocol": "TLS"},), None),
]


@pytest.mark.parametrize(("reason", "more", "listeners", "expected"), URLS, ids=[case[0] for case in URLS])
def test_the_url_follows_the_listener(
    reason: str, more: Json, listeners: tuple[Json, ...], expected: str | None
) -> None:
    every = {**BY_GATEWAY, **more, "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}}
    status = status_of(situation(every, gateways={PUBLIC: gateway(*listeners)}))
    assert expected == status["exposure"].get("url"), reason


def test_a_plain_listener_and_an_open_endpoint_are_told() -> None:
    plain = {
        **BY_GATEWAY,
        "gateway": {"parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "http"}]},
    }
    assert "it takes plain HTTP: tokens travel in clear" in exposed(situation(plain, said(section="http")))[2]
    open_ = situation(BY_GATEWAY, said(), security={"authentication": {"mode": "None"}})
    assert "authentication None: whoever reaches it may call" in exposed(open_)[2]


def test_a_child_that_the_api_server_refuses_says_so() -> None:
    refusal = Refusal("HTTPRoute", "fraud", "NotOwned", "exists and belongs to nobody")
    status, why, message = exposed(situation(BY_GATEWAY), Applied(refusals=(refusal,)))
    assert (status, why) == ("False", "ChildNotOwned")
    assert message == "HTTPRoute fraud: exists and belongs to nobody"


def test_an_ingress_without_an_address_keeps_no_model_from_being_ready() -> None:
    given = situation(BY_INGRESS)
    assert exposed(given)[:2] == ("Unknown", "RoutePending")
    assert says(status_of(given), "Ready") == ("True", "Serving")
    assert status_of(given)["exposure"] == {"url": "https://fraud.example.com"}


def test_an_ingress_with_an_address_is_where_clients_call() -> None:
    given = situation(BY_INGRESS)
    ingress = live(given, "Ingress")
    lead = {"loadBalancer": {"ingress": [{"ip": "192.0.2.11"}, {"hostname": "lb.example"}, {}]}}
    status = status_of(replace(given, children=({**ingress, "status": lead},)))
    assert says(status, "EndpointExposed") == ("True", "Exposed")
    assert status["exposure"] == {"url": "https://fraud.example.com", "addresses": ["192.0.2.11", "lb.example"]}
    assert status["url"] == "https://fraud.example.com"


def rival(
    given: Given, kind: str = "HTTPRoute", *, created: str = OLD, takes: str = "True", section: str = "https"
) -> Json:
    """A route of another model that asks for the same."""
    mine = live(given, kind)
    labels = {**mine["metadata"]["labels"], "modelward.dev/model": "other"}
    metadata = {
        **mine["metadata"],
        "namespace": "shop",
        "name": "other",
        "labels": labels,
        "creationTimestamp": created,
    }
    return {**mine, "metadata": metadata, "status": {"parents": [said(takes, section=section)]}}


CONFLICTS = [
    ("it was first", {}, "False"),
    ("it came later", {"created": NEW}, "True"),
    ("no gateway takes it", {"takes": "False"}, "True"),
    ("it comes by another listener", {"section": "internal"}, "True"),
]


@pytest.mark.parametrize(("reason", "other", "expected"), CONFLICTS, ids=[case[0] for case in CONFLICTS])
def test_of_two_models_that_ask_for_the_same_the_older_one_has_it(reason: str, other: Json, expected: str) -> None:
    given = situation(BY_GATEWAY)
    given = replace(given, children=(live(given, "HTTPRoute", said(), created="2026-11-01T12:00:00Z"),))
    given = replace(given, way_in=replace(given.way_in, rivals=(rival(given, **other),)))
    assert expected == exposed(given)[0], reason
    if expected == "False":
        assert exposed(given)[1:] == (
            "RouteConflict",
            (
                "fraud.example.com/ is already taken by the HTTPRoute of shop/other, which is older: requests go to that model. Choose "
                "another hostname, or routing ModelName where the names differ"
            ),
        )
        assert look_again_after(given, status_of(given), NOTHING_WRITTEN) == 60.0


def test_two_ingresses_of_one_class_contend_and_of_two_do_not() -> None:
    given = situation(BY_INGRESS)
    other = rival(given, "Ingress")
    assert exposed(replace(given, way_in=WayIn(rivals=(other,))))[1] == "RouteConflict"
    elsewhere = {**other, "spec": {**other["spec"], "ingressClassName": "internal"}}
    assert exposed(replace(given, way_in=WayIn(rivals=(elsewhere,))))[1] == "RoutePending"


def claimed(exposure: Json, name: str = "") -> frozenset[str]:
    model = {"model": {"uri": "s3://a", **({"name": name} if name else {})}}
    return frozenset().union(*map(claims, drawn(make_given({"exposure": exposure, **model})).objects))


def test_what_a_model_asks_for_by_hostname_and_by_name() -> None:
    assert claimed(BOTH) == {"HTTPRoute fraud.example.com/", "GRPCRoute fraud-grpc.example.com"}
    by_name = {**BOTH, "routing": "ModelName"}
    assert claimed(by_name) == {"HTTPRoute fraud.example.com/v2/models/fraud", "GRPCRoute fraud-grpc.example.com fraud"}
    assert not claimed(by_name, "a") & claimed(by_name, "a.b"), "models share hostnames"
    assert claimed({**BY_INGRESS, "routing": "ModelName"}, "X_1") == {"Ingress fraud.example.com/v2/models/X_1"}


PEERS: list[tuple[str, Json, list[str]]] = [
    ("the gateway's namespace", BY_GATEWAY, ["gateways", "risk"]),
    ("its own", {**BY_GATEWAY, "gateway": {"parentRefs": [{"name": "inner"}]}}, ["risk"]),
    (
        "where its pods run",
        {**BY_GATEWAY, "allowFrom": [{"namespace": "envoy"}, {"cidr": "192.0.2.0/24"}]},
        ["192.0.2.0/24", "envoy", "risk"],
    ),
    ("an ingress controller's", BY_INGRESS, ["ingress-nginx", "risk"]),
]


@pytest.mark.parametrize(("reason", "exposure", "expected"), PEERS, ids=[case[0] for case in PEERS])
def test_the_network_policy_lets_the_gateway_in_and_nobody_else(
    reason: str, exposure: Json, expected: list[str]
) -> None:
    policy = drawn(make_given({"exposure": exposure})).find("NetworkPolicy")
    doors = policy["spec"]["ingress"][0]["from"]
    found = [
        peer["ipBlock"]["cidr"]
        if "ipBlock" in peer
        else peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in doors
    ]
    assert expected == found, reason


def test_the_activator_lets_a_network_in_and_a_new_leader_reads_that_back() -> None:
    exposure = {**BY_GATEWAY, "allowFrom": [{"cidr": "192.0.2.0/24"}, {"namespace": "envoy"}]}
    given = make_given({"exposure": exposure, "scaling": {"minReplicas": 0, "maxReplicas": 1}})
    plan = drawn(replace(given, activator=replace(given.activator, ports=(20000, 20001))))
    assert plan.route is not None
    assert plan.route.callers == ("192.0.2.0/24", "envoy", "risk")
    policy, config_map = drawn_table("modelward-system", 0, [plan.route], {})
    assert {"ipBlock": {"cidr": "192.0.2.0/24"}} in policy["spec"]["ingress"][0]["from"]
    assert read_table([config_map], [policy]) == {given.key: plan.route}


def stored(store: Store, obj: Json, version: int) -> None:
    store.feed({**obj, "metadata": {"uid": "u", **obj["metadata"], "resourceVersion": str(version)}})


def test_the_store_knows_who_asks_for_the_same_and_rings_for_them() -> None:
    store, given = Store(), make_given({"exposure": BY_GATEWAY})
    mine, other = live(given, "HTTPRoute"), rival(given)
    stored(store, mine, 1)
    stored(store, other, 2)
    asked = claims(mine)
    assert [route["metadata"]["namespace"] for route in store.contenders(asked, given.key)] == ["shop"]
    both = {Key("risk", "fraud"), Key("shop", "other")}
    assert store.keys_of(other) == both
    moved = {**other, "spec": {**other["spec"], "hostnames": ["other.example.com"]}}
    assert store.keys_of(moved) == both, "whom it was in the way of is told"
    stored(store, moved, 3)
    assert store.contenders(asked, given.key) == []
    assert store.keys_of(moved) == {Key("shop", "other")}
    stored(store, other, 4)
    store.drop({**other, "metadata": {**other["metadata"], "resourceVersion": "5"}})
    assert store.contenders(asked, given.key) == []


def test_a_route_without_a_models_label_is_in_nobodys_way() -> None:
    store, given = Store(), make_given({"exposure": BY_GATEWAY})
    foreign = rival(given)
    labels = {"app.kubernetes.io/managed-by": "modelward"}
    stored(store, {**foreign, "metadata": {**foreign["metadata"], "labels": labels}}, 1)
    assert store.contenders(claims(foreign), given.key) == []


def test_a_gateway_rings_for_the_models_that_name_it_when_it_listens_elsewhere() -> None:
    store, rung = Store(), list[str]()
    bells = Bells(store, lambda key, _live: rung.append(str(key)))
    stored(store, make_model({"exposure": BY_GATEWAY}), 1)
    stored(store, make_model({"exposure": BY_INGRESS}, name="other"), 2)
    stored(store, make_model({"exposure": {"gateway": {"parentRefs": [{"name": "public"}]}}}, name="inner"), 3)
    key = Key("gateways", "public", GATEWAY.kind)
    head = {"apiVersion": GATEWAY.api_version, "kind": GATEWAY.kind}
    first = {**head, "metadata": {"namespace": "gateways", "name": "public"}, **gateway()}

    def rings(obj: Json, version: int) -> list[str]:
        stored(store, obj, version)
        rung.clear()
        bells.ring(key, True)
        return list(rung)

    assert rings(first, 4) == ["risk/fraud"]
    counted = [{**listener, "attachedRoutes": 7} for listener in first["spec"]["listeners"]]
    assert rings({**first, "status": {**first["status"], "listeners": counted}}, 5) == []
    assert rings({**first, **gateway(addresses=("192.0.2.99",))}, 6) == ["risk/fraud"]
    store.drop({**first, "metadata": {**first["metadata"], "resourceVersion": "7"}})
    rung.clear()
    bells.ring(key, True)
    assert rung == ["risk/fraud"]


def test_a_kind_of_the_gateway_api_that_comes_rings_for_models_with_a_gateway() -> None:
    store, rung = Store(), list[str]()
    bells = Bells(store, lambda key, _live: rung.append(str(key)))
    stored(store, make_model({"exposure": BY_GATEWAY}), 1)
    stored(store, make_model({"exposure": BY_INGRESS}, name="other"), 2)
    for kind, expected in (("HTTPRoute", ["risk/fraud"]), ("Gateway", ["risk/fraud"]), ("ScaledObject", [])):
        rung.clear()
        bells.ring(Key("", "", kind), True)
        assert expected == rung, kind


def test_at_zero_replicas_a_route_that_is_refused_is_still_told() -> None:
    spec = {"exposure": BY_GATEWAY, "scaling": {"replicas": 0}}
    given = replace(make_given(spec, now=NOW), way_in=WayIn({PUBLIC: gateway()}))
    refused = live(given, "HTTPRoute", said("False", reason="NotAllowedByListeners"))
    assert says(status_of(replace(given, children=(refused,))), "Ready") == ("False", "RouteRefused")
    taken = live(given, "HTTPRoute", said())
    assert says(status_of(replace(given, children=(taken,))), "Ready") == ("True", "ScaledToZero")

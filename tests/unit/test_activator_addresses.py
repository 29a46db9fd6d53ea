"""Which addresses of a token issuer the activator connects to, and that it asks nobody at any other."""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.plan import addresses as of_pods
from modelward_runtime.access.client import Client
from modelward_runtime.access.identity import Unreachable
from modelward_runtime.activator.addresses import is_openable

SPELLINGS = ("127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1%lo", "0.0.0.0")
ANY = st.one_of(
    st.ip_addresses(),
    st.sampled_from(["::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "::/96", "127.0.0.0/8", "169.254.0.0/16"]).flatmap(
        lambda network: st.ip_addresses(network=network)
    ),
)


@given(address=ANY)
def test_the_activator_goes_where_the_operator_would_let_pods_go(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    assert of_pods.is_openable(str(address)) == is_openable(str(address))


@pytest.mark.parametrize("address", SPELLINGS)
def test_it_never_goes_to_itself_its_node_or_a_metadata_service(address: str) -> None:
    assert not is_openable(address)


@pytest.mark.parametrize("address", ["10.96.0.1", "192.168.1.7", "93.184.216.34", "2606:2800:220:1::1"])
def test_an_issuer_in_the_cluster_or_outside_is_asked(address: str) -> None:
    assert is_openable(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_name_that_leads_where_it_may_not_is_never_connected_to(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        client = Client(f"https://{host}:{server.getsockname()[1]}/keys", permits=is_openable)
        with pytest.raises(Unreachable, match="no address that may be asked"):
            await client.call("GET", {}, seconds=60)
        with pytest.raises(BlockingIOError):
            server.accept()

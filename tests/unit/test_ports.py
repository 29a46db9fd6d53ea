"""Ports for tests are free, differ, and lie where no outgoing connection takes them."""

import socket

from tests.ports import FIRST, SLICE, SLICES, free_ports


def test_ports_are_free_differ_and_are_not_handed_out_again_soon() -> None:
    first, second = free_ports(20), free_ports(20)
    assert 40 == len({*first, *second})
    assert all(FIRST <= port < FIRST + SLICE * SLICES < 32_768 for port in first)
    for port in first:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    held = [socket.create_server(("127.0.0.1", port)) for port in free_ports(3)]
    try:
        taken = {one.getsockname()[1] for one in held}
        assert taken.isdisjoint(free_ports(SLICE))
    finally:
        for one in held:
            one.close()

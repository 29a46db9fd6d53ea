"""What the tests stand on when they start processes of their own."""

import socket

import pytest

from tests import processes
from tests.processes import free_ports


def test_a_port_is_given_once_and_is_none_that_the_kernel_gives_away() -> None:
    ports = [port for _ in range(100) for port in free_ports(3)]
    assert len(set(ports)) == 300
    assert 1024 < min(ports) < max(ports) < 32768


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_ports(2)
    monkeypatch.setattr(processes, "_CANDIDATES", iter([taken, free]))
    with socket.create_server(("127.0.0.1", taken)):
        assert (free,) == free_ports(1)

"""Hands out ports for programs that tests start, each port once in a while and never to two workers.

A port that the kernel picks (bind to 0, close, bind again) may go to another worker's server, or to any outgoing
connection, before it is bound again. These lie below the range of outgoing connections, a slice for each xdist worker,
and go round, so that a port rests before it comes again.
"""

import itertools
import os
import socket

FIRST, SLICE, SLICES = 10_000, 1_000, 20  # Linux takes ports for outgoing connections from 32,768 on

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % SLICES
_begin = FIRST + _worker * SLICE
_turn = (_begin + (os.getpid() * 31 + number) % SLICE for number in itertools.count())  # two runs begin apart


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports of this worker that nobody listens on."""
    return tuple(itertools.islice(filter(_is_free, _turn), count))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True

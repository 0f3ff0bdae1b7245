"""WebSockets through a real gateway: what they hold, and what they are no part of."""

import contextlib
import socket
import time
from collections import Counter

import pytest

from tests.io.serving import CONFIG
from tests.io.test_interim import answer, standing

pytestmark = pytest.mark.slow

TWO = CONFIG.replace('["{fra}"]', '["{fra}", "{par}"]').replace("      - {{pop: nyc", "      # {{pop: nyc").replace("{nyc}", "-")
UPGRADE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"


def quick(connection, head):
    if b"upgrade" not in head.lower():
        connection.sendall(answer(b"quick"))
    else:
        connection.sendall(SWITCH)
        connection.settimeout(60)
        connection.recv(1)


def slow(connection, head):
    """It opens no tunnels."""
    time.sleep(0.05)
    connection.sendall(answer(b"slow!"))


def test_idle_tunnels_keep_no_requests_from_their_endpoint(tmp_path):
    """Before, each counted as a request that is under way: who had a hundred got nothing else."""
    with standing(tmp_path, TWO, fra=quick, par=slow) as gateway, contextlib.ExitStack() as stack:
        n_tunnels = 0
        while n_tunnels < 100:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 10))
            client.sendall(UPGRADE)
            n_tunnels += client.recv(4096).startswith(b"HTTP/1.1 101")
        answers = Counter(gateway.get()[1] for _ in range(60))
        assert answers["quick"] > 40, answers

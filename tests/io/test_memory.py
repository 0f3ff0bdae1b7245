"""What a burst takes of a running gateway's memory, and what of it stays: resident pages, as the system counts them."""

import os
import resource
import socket

import pytest

from tests.io.serving import Served, eventually, served

pytestmark = pytest.mark.slow

CONFIG = """
gateway: {{name: edge-1, workers: 1}}
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services: [{{name: shop, backends: [{{pop: fra, endpoints: ["127.0.0.1:9"]}}]}}]
routes: [{{name: all, service: shop}}]
timeouts: {{request_head: 1m}}
admin: {{bind: "127.0.0.1:{admin}"}}
"""
N = 1500
MIB = 1 << 20
HALF = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (9 << 10)


def resident(gateway: Served) -> int:
    with open(f"/proc/{gateway.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < N + 500:
        pytest.skip(f"{N} connections need more descriptors than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, N + 500), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def half_heads(port: int) -> list[socket.socket]:
    clients = []
    for _ in range(N):
        client = socket.create_connection(("127.0.0.1", port), timeout=20)
        client.sendall(HALF)
        clients.append(client)
    return clients


@pytest.mark.heavy
def test_half_heads_take_what_fits_them_and_leave_nothing(tmp_path, descriptors):
    with served(tmp_path, CONFIG) as gateway:
        for _ in range(20):
            assert gateway.get()[0] in (502, 503)
        before = resident(gateway)
        for _ in range(2):
            clients = half_heads(gateway.port)
            # All have been read once the last one is: whatever it says next is answered behind them.
            clients[-1].sendall(b"\r\n\r\n")
            assert clients[-1].recv(4096).startswith(b"HTTP/1.1 50")
            taken = resident(gateway) - before
            assert N * len(HALF) < taken < 36 * MIB, f"{taken / MIB:.1f} MiB"
            for client in clients:
                client.close()
            eventually(lambda: resident(gateway) <= before * 1.1, "resident memory is back within 10 %", 10)

"""New connections over the workers of a running gateway: even, whether they come one by one or all at once, and none waits for long."""

import contextlib
import socket
import time
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.io.serving import CONFIG, eventually, served

pytestmark = pytest.mark.slow

N = 400
REQUEST = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def by_worker(gateway):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin_port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return [int(one.value) for each in families if each.name == "isochrone_worker_connections" for one in each.samples]


def is_answered(end):
    return end.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("n_workers", [2, 4])
@pytest.mark.parametrize("how", ["one by one", "all at once"])
def test_connections_are_even_over_the_workers(tmp_path, pops, n_workers, how):
    text = CONFIG.replace("workers: 2", f"workers: {n_workers}")
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway, contextlib.ExitStack() as stack:
        waits_s = []
        ends = []
        for _ in range(N):
            begin = time.monotonic()
            ends.append(stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10)))
            if how == "one by one":
                ends[-1].sendall(REQUEST)
                assert is_answered(ends[-1])
                waits_s.append(time.monotonic() - begin)
        eventually(lambda: sum(by_worker(gateway)) == N, "all are accepted")
        found = by_worker(gateway)
        print(f"\n{how}: {found}; longest waits {sorted(waits_s)[-5:]}")
        assert len(found) == n_workers and max(found) <= 1.1 * min(found)
        if waits_s:
            assert sorted(waits_s)[N * 9 // 10] < 0.05, "nobody is left to a tick, which is at 0.1"

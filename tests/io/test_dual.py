"""One listening socket for IPv6 and IPv4, on a running gateway."""

import json
import socket

import pytest

from tests.io.serving import eventually, served
from tests.support.raw import OK, raw_upstream

pytestmark = pytest.mark.slow

DUAL = """
listeners: [{{name: web, bind: "[::]:{port}", dual: true}}]
client_ip: {{trusted_proxies: [127.0.0.2/32]}}
pops: [{{name: fra, lat: 50.11, lon: 8.68}}]
services: [{{name: shop, backends: [{{pop: fra, endpoints: ["{fra}"]}}]}}]
routes: [{{service: shop}}]
admin: {{bind: "127.0.0.1:{admin}"}}
access_log: {{path: access.log}}
"""


def test_clients_of_one_socket_for_both_families(tmp_path):
    """IPv4 ones are spelled as such wherever they are named: upstream, in the log, and against the trusted hops."""
    with raw_upstream(lambda _: OK) as upstream, served(tmp_path, DUAL, fra=upstream.address) as gateway:
        for host, source in (("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "127.0.0.2"), ("::1", "::1")):
            with socket.create_connection((host, gateway.port), 10, (source, 0)) as client:
                client.sendall(b"GET / HTTP/1.0\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")
        upstream.wait_quiet()
        seen = upstream.take()
        assert [one.values(b"x-forwarded-for") for one in seen] == [[b"127.0.0.1"], [b"192.0.2.7, 127.0.0.2"], [b"::1"]]
        assert [one.values(b"host") for one in seen] == [
            [b"%s:%d" % (host, gateway.port)] for host in (b"127.0.0.1", b"127.0.0.1", b"[::1]")
        ]
        log = tmp_path / "access.log"
        eventually(lambda: log.exists() and log.read_text().count("\n") == 3, "three lines")
        clients = sorted(json.loads(line)["client"] for line in log.read_text().splitlines())  # of several workers
        assert clients == ["127.0.0.1", "192.0.2.7", "::1"]

"""Who is blamed, on a real gateway before three PoPs in the world: none for what the gateway itself, or one of its clients, did."""

import contextlib
import json
import re
import signal
import socket
import time
from collections import Counter
from http.client import HTTPConnection

import pytest

from tests.io.serving import Client, Load, backends, eventually, served

pytestmark = pytest.mark.slow

CONFIG = """
listeners: [{{name: web, bind: "127.0.0.1:{port}"}}]
gateway: {{workers: 2, location: {{lat: 50.11, lon: 8.68}}}}
pops:
  - {{name: fra, lat: 50.11, lon: 8.68{pop}}}
  - {{name: nyc, lat: 40.71, lon: -74.01}}
  - {{name: tyo, lat: 35.68, lon: 139.69}}
services:
  - name: shop
    health: {{path: /healthz, interval: 500ms, timeout: 500ms, confirm_interval: 100ms, down_after: 2}}
    backends: [{{pop: fra, endpoints: ["{fra}"]{pool}}}, {{pop: nyc, endpoints: ["{nyc}"]}}, {{pop: tyo, endpoints: ["{tyo}"]}}]
routes: [{{service: shop}}]
steering: {{pace: 100%}}
timeouts: {{first_byte: {first_byte}, connect: 300ms}}
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
admin: {{bind: "127.0.0.1:{admin}"}}
log: {{format: json}}
"""


def said(gateway):
    connection = HTTPConnection("127.0.0.1", gateway.admin_port, timeout=20)
    try:
        connection.request("GET", "/pops")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def lasts(seconds):
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began >= seconds, "time goes by")


def last_answers(load, n):
    """From whom the next so many come."""
    before = Counter(load.answers)
    load.wait_answers(n)
    return Counter(load.answers) - before


@contextlib.contextmanager
def standing(folder, first_byte="60s", pop="", pool=""):
    """A gateway, and what load it needs to know its PoPs: all at the nearest one."""
    with contextlib.ExitStack() as stack:
        sites = stack.enter_context(backends("fra", "nyc", "tyo"))
        names = {site.name: site.address for site in sites}
        gateway = stack.enter_context(served(folder, CONFIG, first_byte=first_byte, pop=pop, pool=pool, **names))
        load = Load(gateway.port).keep_alive(12, path="/?delay=0.04")
        eventually(lambda: set(last_answers(load, 300)) == {"fra"}, "all are at the nearest one")
        load.answers.clear()
        yield gateway, load
        load.stop()
        assert load.faults == []


@pytest.mark.parametrize(
    ("pauses", "first_byte"),
    [
        ((2.0,), "600ms"),
        *(
            pytest.param(*more, marks=pytest.mark.heavy)
            for more in (((0.5,), "600ms"), ((0.2,) * 5, "600ms"), ((1.0,), "60s"), ((5.0,), "60s"))
        ),
    ],
    ids=str,
)
def test_the_pop_that_carried_the_traffic_keeps_it(tmp_path, pauses, first_byte):
    """Over a machine that moves, or is starved."""
    with standing(tmp_path, first_byte) as (gateway, load):
        for pause_s in pauses:
            gateway.signal(signal.SIGSTOP)
            lasts(pause_s)
            gateway.signal(signal.SIGCONT)
            lasts(0.2)
        lasts(2.5)
        assert set(load.answers) == {"fra"}, load.answers
    assert not set(re.findall("endpoint is [a-z]+", gateway.log)) - {"endpoint is admitting"}


def pool_of(gateway, pop):
    (found,) = [one for one in said(gateway)["pops"] if one["pop"] == pop]
    (service,) = found["services"]
    return service


def test_a_gateway_that_has_little_cpu_knows_how_long_an_answer_lay(tmp_path):
    """Stopped for most of each tenth of a second, as a CPU quota does it. Each pause is too short to be told from a sleep."""
    with standing(tmp_path) as (gateway, _):
        for _ in range(40):
            gateway.signal(signal.SIGSTOP)
            lasts(0.08)
            gateway.signal(signal.SIGCONT)
            lasts(0.02)
        assert pool_of(gateway, "fra")["service_ms"] < 70  # 40, and what the backend itself takes


def test_stuck_uploads_are_no_backlog_of_the_pop(tmp_path):
    with standing(tmp_path) as (gateway, load), contextlib.ExitStack() as stuck:
        for _ in range(60):
            client = stuck.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            client.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n" + b"x" * 10)
        eventually(lambda: pool_of(gateway, "fra")["in_flight"] >= 60, "they are there")
        lasts(3.0)
        # As a queue they would be 200 ms at 300 answers a second; what the others wait for on a busy machine is some milliseconds.
        assert pool_of(gateway, "fra")["penalty_ms"] < 60
        assert set(load.answers) == {"fra"}, load.answers


SPARED = {"pop": "spared_in_pop", "pool": "spared"}


def upload():
    """That never comes."""
    return b"POST / HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\ncontent-length: 100000\r\n\r\n" + b"x" * 10


def download():
    """That nobody reads."""
    return b"GET /?large=400 HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.9\r\n\r\n"


@pytest.mark.parametrize("wants", [upload, download])
@pytest.mark.parametrize("of", ["pop", "pool"])
def test_bodies_that_one_client_holds_fill_a_capacity_for_nobody_else(tmp_path, wants, of):
    """But they are load: that client's part of the capacity."""
    with standing(tmp_path, **{of: ", capacity: {requests_in_flight: 24}"}) as (gateway, load), contextlib.ExitStack() as stuck:
        load.stop()
        polite = [stuck.enter_context(contextlib.closing(Client(gateway.port))) for _ in range(8)]

        def ask():
            return {client.ask("/", {"x-forwarded-for": f"198.51.{7 * n}.1"}).text for n, client in enumerate(polite)}

        assert ask() == {"fra"}
        for _ in range(24):
            client = socket.socket()
            stuck.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", gateway.port))
            client.sendall(wants())
        eventually(lambda: pool_of(gateway, "fra")["in_flight"] >= 23, "they are there")
        eventually(lambda: pool_of(gateway, "fra")[SPARED[of]] >= 12, "it is seen who holds them")
        for _ in range(30):
            assert ask() == {"fra"}
        (fra,) = [one for one in said(gateway)["pops"] if one["pop"] == "fra"]
        assert 0 < fra["services"][0]["headroom"] < 0.95

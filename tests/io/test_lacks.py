"""A gateway that lacks descriptors, or ports towards one endpoint: who is idle makes room, and who can be reached serves."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections import Counter

import pytest

from tests.io.serving import CONFIG, served

pytestmark = pytest.mark.slow

APART = [shutil.which("unshare") or "unshare", *(() if os.geteuid() == 0 else ("-Ur",)), "-n"]
OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"


def test_idle_clients_make_room_for_requests(tmp_path, pops):
    """Most of them have been idle for longer than those that ask."""
    fra, nyc = pops
    with contextlib.ExitStack() as stack, served(tmp_path, CONFIG, descriptors=240, fra=fra.address, nyc=nyc.address) as gateway:

        def connect() -> socket.socket:
            end = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=20))
            end.sendall(OPTIONS)
            assert end.recv(1000).startswith(b"HTTP/1.1 200 ")
            return end

        for _ in range(80):
            connect()
        active = [connect() for _ in range(60)]
        seen: Counter[bytes] = Counter()

        def ask(end: socket.socket) -> None:
            for _ in range(3):
                end.sendall(b"GET /?delay=0.3 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.1.0.1\r\n\r\n")
                seen[end.recv(2000)[9:12]] += 1

        threads = [threading.Thread(target=ask, args=(end,)) for end in active]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert seen == {b"200": 180}


PORTS = """
    import pathlib, socket, sys, threading
    from collections import Counter
    from tests.io.serving import CONFIG, LIMITED, served

    class Slow:
        # One connection a request, which lasts until all have been asked.
        def __init__(self, name, host, port):
            self.name, self.address = name, f"{host}:{port}"
            self.door = socket.create_server((host, port), backlog=200)
            threading.Thread(target=self.serve, daemon=True).start()

        def serve(self):
            while True:
                threading.Thread(target=self.answer, args=(self.door.accept()[0],), daemon=True).start()

        def answer(self, end):
            head = end.recv(65536)
            if b"/healthz" not in head and head:
                is_over.wait(20)
            name = self.name.encode()
            end.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n%s" % (len(name), name))
            end.close()

    def ask(number):
        with socket.socket(socket.AF_UNIX) as end:
            end.settimeout(20)
            end.connect(door)
            end.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\nX-Forwarded-For: 10.1.%d.1\\r\\n\\r\\n" % number)
            answer = b"".join(iter(lambda: end.recv(4096), b""))
            seen[answer[9:12].decode() + " " + answer.rpartition(b"\\r\\n\\r\\n")[2].decode()] += 1

    def ask_thirty():
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        threading.Timer(2, is_over.set).start()
        for thread in threads:
            thread.join(20)

    seen, is_over, folder = Counter(), threading.Event(), pathlib.Path(sys.argv[1])
    door = str(folder / "door")
    to_door = 'listeners: [{{name: local, bind: "unix:{door}"}}, '
"""
OF_THREE = """
    hosts = {"one": "127.0.0.2", "two": "127.0.0.3", "far": "127.0.0.4"}
    one, two, far = (Slow(name, host, 15000) for name, host in hosts.items())
    text = CONFIG.replace('endpoints: ["{fra}"]', 'endpoints: ["{fra}", "{two}"]').replace("interval: 300ms", "interval: 10s").replace(
        "listeners: [", to_door)
    with served(folder, text, fra=one.address, two=two.address, nyc=far.address, door=door) as gateway:
        ask_thirty()
        assert seen["200 one"] + seen["200 two"] + seen["200 far"] == 30, seen
        assert seen["200 one"] > 4 and seen["200 two"] > 4 and seen["200 far"] > 4, seen
        assert "gate shuts" not in gateway.log and "endpoint ejected" not in gateway.log
"""
OF_ONE = """
    one = Slow("one", "127.0.0.2", 15000)
    text = LIMITED.replace("interval: 1s", "interval: 10s").replace("listeners: [", to_door)
    with served(folder, text, fra=one.address, door=door, workers=2, limits="{}", queue="15s") as gateway:
        ask_thirty()
        assert seen == {"200 one": 30}, seen
        assert "gate shuts" not in gateway.log and "endpoint ejected" not in gateway.log
"""


def run_apart(n_ports, *command, reuse=2):
    """In a network of its own, with so many ports for each address. `reuse` 0: as towards another machine, none comes back in a minute."""
    begin = (
        f"ip link set lo up && echo 40000 {39999 + n_ports} > /proc/sys/net/ipv4/ip_local_port_range"
        f" && echo {reuse} > /proc/sys/net/ipv4/tcp_tw_reuse"
    )
    ran = subprocess.run(
        [*APART, "sh", "-c", f'{begin} && exec "$@"', "sh", sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("script", [OF_THREE, OF_ONE], ids=["the others serve", "or all wait"])
def test_without_a_port_towards_one_endpoint(tmp_path, script):
    """Ten for each address; thirty requests at once."""
    run_apart(10, "-c", textwrap.dedent(PORTS) + textwrap.dedent(script), str(tmp_path))


@pytest.mark.parametrize("scenario", ["panic", "early", "given_up", "handed_over"])
def test_no_request_costs_a_port_for_a_minute(tmp_path, scenario):
    """In a panic, of uploads that are answered early or that their clients give up, and where a connection is wanted at another worker:
    far more requests than there are ports."""
    run_apart(150, "-m", "tests.io.spending", str(tmp_path), scenario, reuse=0)

"""A gateway on sockets that somebody else opened and keeps: what is left of its use when it has ended, and that a next one goes on."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from tests.io.serving import CONFIG, backends, eventually, free_port

pytestmark = pytest.mark.slow

IP_MINTTL = 21
# As a service manager does it: descriptors from 3 on, and the process's own number.
LAUNCH = """
import os, sys
high = [os.dup2(int(number), 500 + place) for place, number in enumerate(sys.argv[1].split(","))]
for place, number in enumerate(high, 3):
    os.dup2(number, place)
    os.close(number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@contextmanager
def gateway(folder, text, **sockets):
    """`isochrone serve` with these; ended with the block."""
    config = folder / f"{len(list(folder.iterdir()))}.yaml"
    config.write_text(text)
    log = config.with_suffix(".log")
    numbers = ",".join(str(one.fileno()) for one in sockets.values())
    environment = {**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": ":".join(sockets)}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, numbers, "-m", "gateway", "serve", "-c", str(config)],
            env=environment,
            stderr=errors,
            pass_fds=[one.fileno() for one in sockets.values()],
        )
    try:
        process.log = log
        yield process
    finally:
        process.kill()
        process.wait()


def listening(port=0):
    opened = socket.socket()
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind(("127.0.0.1", port))
    opened.listen(128)
    return opened


def get(port, path="/", timeout=20):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_some_are_inherited_some_bound_and_what_is_shared_outlives_the_drain(tmp_path):
    with backends("fra", "nyc") as (fra, nyc), listening() as web, listening() as admin:
        port, admin_port, other = web.getsockname()[1], admin.getsockname()[1], free_port()
        text = CONFIG.format(port=port, admin=admin_port, fra=fra.address, nyc=nyc.address)
        text = text.replace(f'bind: "127.0.0.1:{port}"}}', f'bind: "127.0.0.1:{port}"}}, {{name: other, bind: "127.0.0.1:{other}"}}')
        with gateway(tmp_path, text, admin=admin, web=web) as first:
            assert get(port)[0] == 200  # what was queued before it could serve is served
            assert get(other)[0] == 200
            assert get(admin_port, "/readyz")[0] == 200
            faults, answers, has_ended = [], [], threading.Event()

            def ask_on():
                while not has_ended.is_set():
                    try:
                        answers.append(get(port)[0])
                    except OSError as error:
                        faults.append(repr(error))

            clients = [threading.Thread(target=ask_on) for _ in range(4)]
            for client in clients:
                client.start()
            eventually(lambda: len(answers) > 50, "answers")
            first.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0, first.log.read_text()
            # Another process may listen on it: nothing is held back, nothing refused, and what comes now waits for the next one.
            assert web.getsockopt(socket.IPPROTO_IP, IP_MINTTL) == admin.getsockopt(socket.IPPROTO_IP, IP_MINTTL) == 0
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", other), 5)
            before = len(answers)
            with gateway(tmp_path, text, admin=admin, web=web) as second:
                eventually(lambda: len(answers) > before + 50, "answers of the next one")
                assert get(admin_port, "/healthz")[0] == 200
                has_ended.set()
                for client in clients:
                    client.join(20)
                assert (faults, set(answers)) == ([], {200})
                second.send_signal(signal.SIGTERM)
                assert second.wait(20) == 0


def test_a_socket_that_nobody_is_named_as_stops_the_start(tmp_path):
    with backends("fra", "nyc") as (fra, nyc), listening() as one:
        text = CONFIG.format(port=free_port(), admin=free_port(), fra=fra.address, nyc=nyc.address)
        with gateway(tmp_path, text, wbe=one) as process:
            assert process.wait(20) == 1
        assert "inherited sockets that no listener, admin or status is named as: wbe" in process.log.read_text()

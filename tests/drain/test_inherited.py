"""A gateway on sockets that somebody else opened and keeps: what is left of its use when it has ended, and that a next one goes on."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest

from tests.io.serving import CONFIG, backends, eventually, free_port
from tests.support.raw import ask_on

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


@pytest.mark.parametrize("is_unix", [False, True], ids=["TCP", "unix"])
def test_one_after_the_other_leaves_a_queue_that_its_successor_has_as_well(tmp_path, is_unix):
    """Both accept at once; whoever waits where the first one leaves is the second one's, and nobody waits for the next who comes."""
    path = tmp_path / "web.sock"
    with backends("fra", "nyc") as (fra, nyc), socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET) as web:
        web.bind(str(path) if is_unix else ("127.0.0.1", 0))
        web.listen(128)
        port = 1 if is_unix else web.getsockname()[1]
        answers, faults, has_ended = [], [], threading.Event()
        clients = [threading.Thread(target=ask_on, args=(web, answers, faults, has_ended), daemon=True) for _ in range(6)]
        with ExitStack() as stack:
            stack.callback(has_ended.set)
            before = None
            for generation in range(3):
                text = CONFIG.format(port=port, admin=(admin := free_port()), fra=fra.address, nyc=nyc.address)
                if is_unix:
                    text = text.replace('bind: "127.0.0.1:1"', f'bind: "unix:{path}"')
                text = text.replace("lameduck: 1s", "lameduck: 0s")
                serves = stack.enter_context(gateway(tmp_path, text, web=web))
                eventually(lambda serves=serves: '"started"' in serves.log.read_text(), "it serves")
                if before is None:
                    for client in clients:
                        client.start()
                n = len(answers)
                eventually(lambda n=n: len(answers) > n + 50 or faults, "both serve, or the first")
                if before is not None:
                    before.send_signal(signal.SIGTERM)
                    assert before.wait(20) == 0, before.log.read_text()
                assert get(admin, "/healthz")[0] == 200, generation
                before = serves
            n = len(answers)
            eventually(lambda: len(answers) > n + 50 or faults, "the last one serves")
            has_ended.set()
            for client in clients:
                client.join(20)
            assert not any(client.is_alive() for client in clients)
        assert (faults, set(answers)) == ([], {b"HTTP/1.1 200 OK"})
        assert not is_unix or path.exists(), "the file is its maker's"


def test_status_is_answered_by_the_socket_that_came_and_the_next_one_goes_on(tmp_path):
    """Read by name: what stands where strangers may reach it has nothing of the admin API."""
    with backends("fra", "nyc") as (fra, nyc), listening() as status, listening() as admin:
        port, admin_port = status.getsockname()[1], admin.getsockname()[1]
        text = CONFIG.format(port=free_port(), admin=admin_port, fra=fra.address, nyc=nyc.address)
        text += f'status: {{bind: "127.0.0.1:{port}"}}\n'
        with gateway(tmp_path, text, status=status, admin=admin) as first:
            eventually(lambda: get(port, "/readyz")[0] == 200, "it is ready")
            assert b"isochrone_" in get(port, "/metrics")[1]
            assert (get(port, "/pops")[0], get(admin_port, "/pops")[0]) == (404, 200)
            first.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0, first.log.read_text()
        assert status.getsockopt(socket.IPPROTO_IP, IP_MINTTL) == 0
        with socket.create_connection(("127.0.0.1", port), 20) as waiting:  # a scraper that comes between two generations
            waiting.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            with gateway(tmp_path, text, admin=admin, status=status) as second:
                assert waiting.recv(4096).startswith(b"HTTP/1.1 200 ")
                second.send_signal(signal.SIGTERM)
                assert second.wait(20) == 0, second.log.read_text()


def test_status_may_be_a_unix_socket_that_its_maker_keeps(tmp_path):
    path = tmp_path / "status.sock"
    with backends("fra", "nyc") as (fra, nyc), socket.socket(socket.AF_UNIX) as status:
        status.bind(str(path))
        status.listen(16)
        mode = path.stat().st_mode
        text = CONFIG.format(port=free_port(), admin=free_port(), fra=fra.address, nyc=nyc.address)
        with gateway(tmp_path, f'{text}status: {{bind: "unix:{path}"}}\n', status=status) as process:
            with socket.socket(socket.AF_UNIX) as scraper:
                scraper.settimeout(20)
                scraper.connect(str(path))
                scraper.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert scraper.recv(4096).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, process.log.read_text()
        assert path.stat().st_mode == mode  # neither taken away nor changed: who may connect is its maker's word


@pytest.mark.parametrize(("mode", "has_token", "serves"), [(0o666, False, False), (0o666, True, True), (0o660, False, True)])
def test_an_admin_socket_that_is_everyones_needs_a_token(tmp_path, mode, has_token, serves):
    """0666 is what systemd makes of a unit without SocketMode=."""
    path, token = tmp_path / "admin.sock", tmp_path / "token"
    token.write_text("t" * 32)
    admin = f'{{bind: "unix:{path}", token: "{token}"}}' if has_token else f'{{bind: "unix:{path}"}}'
    with backends("fra", "nyc") as (fra, nyc), socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
        path.chmod(mode)
        made.listen(16)
        text = CONFIG.format(port=(port := free_port()), admin=1, fra=fra.address, nyc=nyc.address)
        text = text.replace('{bind: "127.0.0.1:1"}', admin)
        with gateway(tmp_path, text, admin=made) as process:
            if serves:
                eventually(lambda: '"started"' in process.log.read_text(), "it serves")
                assert get(port)[0] == 200
            else:
                assert process.wait(20) == 1
                assert f"may connect to the inherited socket {path} (mode 0666): it must have SocketMode=0600" in process.log.read_text()


@pytest.mark.parametrize("whose", ["admin's", "the listener's"])
def test_a_listener_that_is_called_admin_leaves_the_admin_apis_socket_alone(tmp_path, whose):
    with backends("fra", "nyc") as (fra, nyc), listening() as one:
        given, other = one.getsockname()[1], free_port()
        port, admin = (other, given) if whose == "admin's" else (given, other)
        text = CONFIG.format(port=port, admin=admin, fra=fra.address, nyc=nyc.address).replace("name: web", "name: admin")
        with gateway(tmp_path, text, admin=one) as process:
            eventually(lambda: '"started"' in process.log.read_text() or process.poll() is not None, "it serves")
            assert process.poll() is None, process.log.read_text()
            assert get(port)[0] == get(admin, "/readyz")[0] == 200


def test_a_socket_that_nobody_is_named_as_stops_the_start(tmp_path):
    with backends("fra", "nyc") as (fra, nyc), listening() as one:
        text = CONFIG.format(port=free_port(), admin=free_port(), fra=fra.address, nyc=nyc.address)
        with gateway(tmp_path, text, wbe=one) as process:
            assert process.wait(20) == 1
        assert "inherited sockets that no listener, admin or status is named as: wbe" in process.log.read_text()

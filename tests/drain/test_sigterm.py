import hashlib
import http.client
import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.io.serving import CONFIG, GERMAN, Load, eventually, served

pytestmark = pytest.mark.slow


def test_drain_under_load_loses_nothing(gateway, pops):
    body = b"u" * 300_000
    load = Load(gateway.port).keep_alive(16).one_shot(4)
    load.keep_alive(2, method="POST", path="/up", body=body).keep_alive(2, path="/?slow=20", length=20_000)
    load.wait_answers(500)
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    gateway.wait_log('"lameduck"')
    load.wait_answers(50)  # everyone is still served
    assert gateway.wait_exit() == 0
    assert 1.0 <= time.monotonic() - began < 6.0  # the lameduck, then as soon as nothing is left
    load.join()
    assert load.faults == []
    assert load.turned_away == 24
    assert pops[0].seen["POST /up"] + pops[1].seen["POST /up"] == load_of_posts(load)
    steps = [line for line in ("lameduck", "closing", "exit") if f'"{line}"' in gateway.log]
    assert steps == ["lameduck", "closing", "exit"]


@pytest.mark.parametrize("is_dual", [False, True], ids=["two listeners", "dual"])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_without_any_right_nobody_is_reset_at_the_end(pops, host, is_dual):
    """New connections all the time, up to the last moment, to a gateway that runs as `nobody`."""
    text = CONFIG.replace('bind: "127.0.0.1:{port}"}}', 'bind: "127.0.0.1:{port}"}}, {{name: six, bind: "[::1]:{port}"}}')
    if is_dual:
        text = CONFIG.replace('bind: "127.0.0.1:{port}"}}', 'bind: "[::]:{port}", dual: true}}')
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own are for the owner alone
        with served(Path(folder), text, is_unprivileged=True, fra=pops[0].address, nyc=pops[1].address) as gateway:
            load = Load(gateway.port, host).one_shot(24)
            load.wait_answers(200)
            gateway.signal(signal.SIGTERM)
            assert gateway.wait_exit() == 0
            load.join()
            assert load.faults == []
            assert load.turned_away == 24
            assert "can't hold" not in gateway.log


def test_nobody_who_found_a_unix_socket_is_reset_at_the_end(tmp_path, pops):
    path = tmp_path / "s"
    text = CONFIG.replace("lameduck: 1s", "lameduck: 0s").replace('bind: "127.0.0.1:{port}"}}', f'bind: "unix:{path}"}}}}')
    faults, answers = [], Counter()
    with served(tmp_path, text, wait=False, fra=pops[0].address, nyc=pops[1].address) as gateway:
        gateway.wait_log('"listening"')

        def ask_on():
            while gateway.process.poll() is None:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(20)
                    try:
                        client.connect(str(path))
                    except (ConnectionRefusedError, FileNotFoundError):
                        answers["refused"] += 1
                        continue
                    try:
                        client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                        answers[client.recv(15).decode()] += 1
                    except OSError as error:
                        faults.append(repr(error))

        clients = [threading.Thread(target=ask_on) for _ in range(6)]
        for client in clients:
            client.start()
        eventually(lambda: answers["HTTP/1.1 200 OK"] >= 100 or faults, "all are served")
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        for client in clients:
            client.join()
    assert faults == [] and set(answers) == {"HTTP/1.1 200 OK", "refused"}


def load_of_posts(load):
    """Answers to POSTs: the backend's name and the start of the hash."""
    return sum(count for text, count in load.answers.items() if " " in text)


def test_an_upload_and_a_download_in_progress_are_finished(gateway, pops):
    body = b"abc" * 100_000
    slow = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    slow.sendall(b"POST /up HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:1000])
    down = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    down.request("GET", "/?slow=100")  # two seconds: past the lameduck
    answer = down.getresponse()
    gateway.signal(signal.SIGTERM)
    gateway.wait_log('"closing"')
    eventually(lambda: not gateway.is_listening(), "no new connections")
    slow.sendall(body[1000:])
    reader = slow.makefile("rb")
    assert reader.readline().startswith(b"HTTP/1.1 200")
    head = list(iter(reader.readline, b"\r\n"))
    assert b"connection: close\r\n" in [line.lower() for line in head]
    assert hashlib.sha256(body).hexdigest().encode() in reader.read()
    assert len(answer.read()) == 100_000
    assert gateway.wait_exit() == 0
    slow.close()
    down.close()


def test_answers_announce_the_end_more_and_more(tmp_path, pops):
    text = CONFIG.replace("lameduck: 1s", "lameduck: 2s")
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway:
        gateway.signal(signal.SIGTERM)
        gateway.wait_log('"lameduck"')
        began = time.monotonic()
        announced: list[tuple[float, bool]] = []
        while time.monotonic() - began < 1.9:
            client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
            client.request("GET", "/")
            answer = client.getresponse()
            answer.read()
            announced.append((time.monotonic() - began, answer.will_close))
            client.close()
        early = [said for at, said in announced if at < 0.5]
        late = [said for at, said in announced if at > 1.6]
        assert sum(early) < len(early) / 2
        assert all(late)
        assert gateway.wait_exit() == 0


def test_a_second_sigterm_is_fast(gateway, pops):
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    client.request("GET", "/?delay=30")
    eventually(lambda: pops[0].seen["GET /"] + pops[1].seen["GET /"], "the request runs")
    gateway.signal(signal.SIGTERM)
    gateway.wait_log('"lameduck"')
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0
    assert time.monotonic() - began < 3
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        client.getresponse()
    client.close()
    assert '"aborting"' in gateway.log


def test_at_the_deadline_what_is_left_is_cut(tmp_path, pops):
    text = CONFIG.replace("deadline: 10s", "deadline: 2s")
    with served(tmp_path, text, fra=pops[0].address, nyc=pops[1].address) as gateway:
        client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
        client.request("GET", "/?delay=30")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        assert 2 <= time.monotonic() - began < 6
        client.close()
        assert '"aborting"' in gateway.log
        last = json.loads(gateway.log.splitlines()[-1])
        assert (last["message"], last["level"], last["cut_request"]) == ("exit", "warning", 1)


def test_sigint_drains_as_sigterm_does(gateway):
    assert gateway.get("/", GERMAN)[0] == 200
    gateway.signal(signal.SIGINT)
    assert gateway.wait_exit() == 0
    assert '"lameduck"' in gateway.log


def test_who_was_not_told_of_the_end_is_heard_once_more(gateway):
    """Before, a client whose answer began ahead of the lameduck and ended behind it met the end of its connection as it asked again."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as one:
        client = one.makefile("rb")
        one.sendall(b"GET /?slow=75 HTTP/1.1\r\nhost: x\r\n\r\n")  # 1.5 s
        first = http.client.HTTPResponse(one)
        first.begin()
        gateway.signal(signal.SIGTERM)
        gateway.wait_log('"closing"')
        assert (first.will_close, len(first.read())) == (False, 75_000)
        ended = time.monotonic()
        eventually(lambda: time.monotonic() - ended > 0.4, "ticks go by")
        one.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = client.read()  # to the end
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close\r\n" in answer.lower()
    assert gateway.wait_exit() == 0


def test_an_idle_keep_alive_client_is_told_by_an_end_and_can_read_its_last_answer(gateway):
    client = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert client.recv(4096).startswith(b"HTTP/1.1 200")
    gateway.signal(signal.SIGTERM)
    assert client.recv(4096) == b""  # a clean end, no reset
    client.close()
    assert gateway.wait_exit() == 0

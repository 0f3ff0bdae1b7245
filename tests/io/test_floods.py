"""Floods on a real gateway: what never ends is ended, in time and with a word, and everybody else is served meanwhile."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.io.serving import Client
from tests.io.test_interim import ALONE, CONTINUE, HINTS, after, answer, standing

pytestmark = pytest.mark.slow

N_FLOODS = 12


def resident_mib(gateway):
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


# What comes, how much at once, and how it ends: by what a client has not taken in, or by the time that an answer may take.
INTERIM = {
    "relayed": (HINTS, 2000, b"502 Bad Gateway"),
    "relayed as they come": (HINTS, 1, b"504 Gateway Timeout"),
    "not relayed": (CONTINUE, 2000, b"504 Gateway Timeout"),
}


@pytest.mark.parametrize("kind", INTERIM)
def test_interim_answers_without_end_end_with_a_word_and_stall_nobody(tmp_path, kind):
    one, at_once, status = INTERIM[kind]

    def handler(connection, head):
        if b"/fine" in head:
            connection.sendall(answer(b"fine"))
            return
        while True:
            connection.sendall(one * at_once)
            if at_once == 1:
                after(0.02, connection)

    ends = []

    def victim():
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            client.sendall(b"GET /flood HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            last = b""
            while got := client.recv(1 << 18):
                last = (last + got)[-400:]
            ends.append(last)

    with standing(tmp_path, ALONE.replace("workers: 2", "workers: 1"), fra=handler, nyc=handler) as gateway:
        before = resident_mib(gateway)
        threads = [threading.Thread(target=victim, daemon=True) for _ in range(N_FLOODS)]
        for thread in threads:
            thread.start()
        polite = Client(gateway.port)
        slowest, n_answers = 0.0, 0
        while any(thread.is_alive() for thread in threads) or n_answers < 10:
            began = time.monotonic()
            assert polite.ask("/fine")[:2] == (200, "fine")
            slowest, n_answers = max(slowest, time.monotonic() - began), n_answers + 1
        polite.close()
        assert len(ends) == N_FLOODS
        assert all(b"HTTP/1.1 %s\r\n" % status in end and end.endswith(status[4:] + b"\n") for end in ends)
        assert slowest < 1.0, "of two that a flood lasts at most"
        assert resident_mib(gateway) < before + 20


def test_lingering_closes_go_before_anybody_who_is_polite(tmp_path):
    """Answered, told of the end, and never gone: before, an idle client was closed for each new one while 90 of them stayed, and when no
    idle one was left new ones were turned away. All of it from one hop, which may hold as many as it likes."""
    text = ALONE.replace("first_byte: 2s", "first_byte: 2s, linger: 30s").replace("workers: 2", "workers: 1")
    text += "limits: {{connections: 100}}\n"

    def fine(connection, head):
        connection.sendall(answer(b"fine"))

    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(standing(tmp_path, text, fra=fine, nyc=fine))
        polite = [stack.enter_context(contextlib.closing(Client(gateway.port))) for _ in range(9)]
        for client in polite:
            assert client.ask()[:2] == (200, "fine")
        before = resident_mib(gateway)
        for _ in range(500):
            flood = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=10))
            flood.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            got = b""
            while not got.endswith(b"fine"):
                piece = flood.recv(4096)
                assert piece, "each was answered, whole"
                got += piece
        assert gateway.get() == (200, "fine"), "who comes now"
        for client in polite:
            reused = client.connection()
            assert client.ask()[:2] == (200, "fine") and client.connection() is reused is not None
        assert resident_mib(gateway) < before + 10
